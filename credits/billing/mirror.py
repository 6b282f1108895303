"""What pages show of Stripe, from the mirror that dj-stripe keeps: no page waits for Stripe to be read."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from accounts.models import Team
from credits.billing import shapes
from credits.billing.shapes import Invoice
from credits.models import PlanPrice, Subscription

INVOICES_SHOWN = 24  # the portal has all of them


@dataclass(frozen=True, slots=True)
class State:
    """A subscription, as the billing page shows it."""

    status: str
    next_at: datetime
    next_cents: int
    currency: str
    interval: str
    ends_at: datetime | None
    trial_ends_at: datetime | None


def invoices_of(team: Team) -> list[Invoice]:
    """The newest invoices that were finished, newest first."""
    from djstripe.models import Invoice as Mirrored

    rows = Mirrored.objects.filter(
        customer__subscriber=team, livemode=settings.STRIPE_LIVE_MODE, stripe_data__status__in=["open", "paid"]
    )
    return [shapes.invoice(row.stripe_data) for row in rows.order_by("-created", "-djstripe_id")[:INVOICES_SHOWN]]


def state_of(subscription: Subscription | None) -> State | None:
    """How a subscription stands; None where there is none, or the mirror has not heard of it yet."""
    from djstripe.models import Subscription as Mirrored

    if subscription is None:
        return None
    row = Mirrored.objects.filter(id=subscription.external_ref).first()
    if row is None:
        return None
    sub = shapes.subscription(row.stripe_data)
    price = PlanPrice.objects.filter(stripe_price_id__in=sub.price_ids).first()
    if price is None:
        return None
    return State(
        sub.status, sub.period_ends_at, price.price_cents, price.currency, price.interval, sub.cancels_at,
        sub.trial_ends_at,
    )  # fmt: skip
