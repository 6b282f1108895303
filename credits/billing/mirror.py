"""What pages show of Stripe, from the mirror that dj-stripe keeps: no page waits for Stripe to be read.

And the mirror's end: it is full of names and addresses, and a team that is deleted for good leaves none behind.
"""

from dataclasses import dataclass
from datetime import datetime

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.models import Team
from credits.billing import shapes
from credits.billing.shapes import Invoice
from credits.models import PlanPrice, StripeCustomer, Subscription

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
    is_changing: bool  # to another price, with the next invoice


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
        sub.trial_ends_at, bool(sub.schedule_id),
    )  # fmt: skip


def forget(team: Team) -> None:
    """Delete the mirror of a team's customers, and what webhooks said of them. Again changes nothing."""
    for customer_id in StripeCustomer.objects.filter(team=team).values_list("customer_id", flat=True):
        _forget(customer_id)


def forget_again() -> int:
    """Forget what came back of teams that were deleted for good: Stripe writes about them for a while. How many."""
    from djstripe.models import Customer

    gone = StripeCustomer.objects.filter(team__purged_at__isnull=False).values("customer_id")
    back = list(Customer.objects.filter(id__in=gone).values_list("id", flat=True))
    for customer_id in back:
        _forget(customer_id)
    return len(back)


@transaction.atomic
def _forget(customer_id: str) -> None:
    from djstripe.models import Charge, Customer, Event, WebhookEventTrigger

    charges = list(Charge.objects.filter(customer__id=customer_id).values_list("id", flat=True))
    about = (
        Q(data__object__customer=customer_id) | Q(data__object__id=customer_id) | Q(data__object__charge__in=charges)
    )
    events = Event.objects.filter(about)
    WebhookEventTrigger.objects.filter(event__in=events).delete()
    events.delete()
    for model in apps.get_app_config("djstripe").get_models():
        if any(field.name == "stripe_data" for field in model._meta.fields):
            model._default_manager.filter(stripe_data__customer=customer_id).delete()
    Customer.objects.filter(id=customer_id).delete()
