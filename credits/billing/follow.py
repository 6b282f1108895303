"""Brings a team's plan and its granted months to what Stripe says now, from the whole history, every time."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F

from accounts import activity
from accounts.models import Team
from credits import ledger
from credits.billing import client, customers, dues, shapes, takebacks
from credits.billing.dues import Due
from credits.billing.errors import UnknownPrice
from credits.billing.shapes import Invoice, Sub
from credits.clock import now
from credits.models import Grant, Payment, PlanPrice, StripeCustomer, Subscription, Term
from credits.signals import plan_changed
from tenkaigen.errors import Busy, DomainError
from tenkaigen.failpoints import failpoint

SUBSCRIPTIONS_MAX = 100
INVOICES_MAX = 300  # of one customer: six years of months with four upgrades each year
TRIES_MAX = 5
YEARS_MAX = 1000  # customers a run
logger = structlog.get_logger(__name__)


def settle(customer_id: str) -> int:
    """Read a customer's subscriptions and paid invoices, and follow them. How many grants were made now.

    A customer of nobody here is left alone. Safe at any time, as often as one likes, and in two workers at once.

    Raises:
        UnknownPrice: something that runs, or was paid, has a price that no row maps to a plan.
        BillingOff, StripeUnavailable, Busy.
    """
    customer = customers.find(customer_id)
    if customer is None:
        logger.info("stripe_customer_unknown", customer=customer_id)
        return 0
    subs = follow(customer)
    prices = known_prices()
    granted = 0
    for sub, invoices in paid(customer_id, subs):
        due = dues.of(sub, invoices, prices, now())
        granted += sum(grant(customer.team, one) for one in missing(due.grants))
        _keep_years(customer.team, sub, due.years)
    return granted


def follow(customer: StripeCustomer) -> list[Sub]:
    """Write the team's plan as its subscriptions at Stripe say. Returns all of them.

    Two workers may read different states; only one that read after the last one wrote may write.

    Raises:
        UnknownPrice, BillingOff, StripeUnavailable.
        Busy: others were quicker time after time.
    """
    prices = known_prices()
    for _ in range(TRIES_MAX):
        seen = StripeCustomer.objects.values_list("followed", flat=True).get(pk=customer.pk)
        found = client.each("subscriptions", at_most=SUBSCRIPTIONS_MAX, customer=customer.customer_id, status="all")
        subs = [shapes.subscription(one) for one in found]
        if _write(customer, seen, subs, prices):
            return subs
    raise Busy("This subscription is being changed right now.")


def known_prices() -> dict[str, PlanPrice]:
    rows = PlanPrice.objects.exclude(stripe_price_id="").select_related("plan")
    return {row.stripe_price_id: row for row in rows}


@transaction.atomic
def _write(customer: StripeCustomer, seen: int, subs: list[Sub], prices: dict[str, PlanPrice]) -> bool:
    if not _nobody_wrote_since(customer, seen):
        return False
    wanted = chosen(subs, prices)
    # The customer's row is locked until the end: nobody else writes this team's subscription for Stripe.
    current = Subscription.objects.select_for_update().filter(team_id=customer.team_id).first()
    if _subscribe(customer.team, current, *wanted) if wanted else _end(customer.team, current, subs, prices):
        plan_changed.send(sender=Subscription, team_id=customer.team_id)
    return True


def _nobody_wrote_since(customer: StripeCustomer, seen: int) -> bool:
    rows = StripeCustomer.objects.filter(pk=customer.pk, followed=seen)
    return rows.update(followed=F("followed") + 1) == 1


def chosen(subs: list[Sub], prices: dict[str, PlanPrice]) -> tuple[Sub, PlanPrice] | None:
    """The subscription that counts: of several the greatest plan, then the newest."""
    running = [(_price_of(sub, prices), sub) for sub in subs if sub.is_running]
    best = max(running, key=lambda pair: (pair[0].plan.position, pair[1].created_at, pair[1].id), default=None)
    return (best[1], best[0]) if best else None


def _price_of(sub: Sub, prices: dict[str, PlanPrice]) -> PlanPrice:
    for price_id in sub.price_ids:
        if price_id in prices:
            return prices[price_id]
    raise UnknownPrice(f"Subscription {sub.id} is for {', '.join(sub.price_ids)}, which no plan price names.")


def _subscribe(team: Team, current: Subscription | None, sub: Sub, price: PlanPrice) -> bool:
    ends_at = sub.cancels_at
    facts = {
        "plan": price.plan,
        "anchor_at": min(sub.anchor_at, ends_at) if ends_at else sub.anchor_at,
        "ends_at": ends_at,
        "grants_monthly": False,
        "external_ref": sub.id,
    }
    if current and all(getattr(current, name) == value for name, value in facts.items()):
        return False
    Subscription.objects.update_or_create(team=team, defaults=facts | {"updated_at": now()})
    if current is None or current.external_ref != sub.id or current.plan_id != price.plan_id:
        activity.record(team=team, actor="stripe", verb="billing.plan_followed", target=price.plan.name)
    return True


def _end(team: Team, current: Subscription | None, subs: list[Sub], prices: dict[str, PlanPrice]) -> bool:
    """What Stripe no longer runs is over, also when we hear of it only now; a plan that staff gave stays."""
    ended = [sub for sub in subs if sub.status not in ("incomplete", "incomplete_expired")]
    last = max(ended, key=lambda sub: (sub.created_at, sub.id), default=None)
    if last is None or (current is not None and current.external_ref not in {sub.id for sub in ended}):
        return False
    over_at = last.ended_at or now()
    price = _price_of(last, prices)
    facts = {"plan": price.plan, "anchor_at": min(last.anchor_at, over_at), "ends_at": over_at}
    facts |= {"grants_monthly": False, "external_ref": "", "updated_at": now()}
    Subscription.objects.update_or_create(team=team, defaults=facts)
    activity.record(team=team, actor="stripe", verb="billing.plan_ended", target=price.plan.name)
    return True


def paid(customer_id: str, subs: Iterable[Sub]) -> list[tuple[Sub, list[Invoice]]]:
    """Each subscription with its paid invoices."""
    by_subscription: dict[str, list[Invoice]] = defaultdict(list)
    for data in client.each(
        "invoices", at_most=INVOICES_MAX, customer=customer_id, status="paid", expand=["data.payments"]
    ):
        invoice = shapes.invoice(whole(data))
        by_subscription[invoice.subscription_id].append(invoice)
    return [(sub, by_subscription[sub.id]) for sub in subs if sub.id in by_subscription]


def whole(data: client.Json) -> client.Json:
    """An invoice with all of its lines; Stripe sends the first ones only."""
    if data["lines"].get("has_more"):
        data["lines"]["data"] = list(client.each_line(data["id"]))
    return data


def missing(due: list[Due]) -> list[Due]:
    """Those that were not granted yet. What was granted stays what it was, whatever became of its plan's row."""
    references = [one.reference for one in due]
    granted = Grant.objects.filter(source=Grant.Source.PLAN, source_ref__in=references)
    done = set(granted.values_list("source_ref", flat=True))
    return [one for one in due if one.reference not in done]


@transaction.atomic
def grant(team: Team, due: Due) -> bool:
    """Grant one due, in a short transaction of its own; whether it was new. Refunds that came first are taken at once.

    Raises:
        Busy: the wallet's lock did not come in time.
    """
    failpoint("billing.before_grant")
    invoice = due.invoice
    payment = note_payment(team, invoice.payment_intent, invoice.total_cents, invoice.currency, invoice_id=invoice.id)
    made = ledger.grant(
        team_id=team.pk,
        amount_centi=due.amount_centi,
        source=Grant.Source.PLAN,
        source_ref=due.reference,
        effective_at=due.starts_at,
        expires_at=due.ends_at,
        payment_ref=due.payment_ref,
        actor="stripe",
        reason=due.reason,
    )
    if payment:
        takebacks.apply(payment)
    return made.is_new


def note_payment(
    team: Team, payment_intent: str, amount_cents: int, currency: str, *, invoice_id: str = ""
) -> Payment | None:
    """Note money that came, and lock its row until the transaction ends. None where none came."""
    if not payment_intent or not amount_cents:
        return None
    facts = {"team": team, "amount_cents": amount_cents, "currency": currency, "invoice_id": invoice_id}
    Payment.objects.get_or_create(payment_intent=payment_intent, defaults=facts)
    return Payment.objects.select_for_update(no_key=True).get(pk=payment_intent)


@transaction.atomic
def _keep_years(team: Team, sub: Sub, years: list[dues.Year]) -> None:
    for year in years:
        Term.objects.update_or_create(
            subscription_id=sub.id,
            starts_at=year.starts_at,
            defaults={"team": team, "ends_at": year.ends_at, "next_at": year.next_at},
        )


def settle_years(moment: datetime) -> int:
    """Look at every paid year whose next month has begun. How many grants were made.

    A customer for whom it fails is left to the next run and keeps the others from nothing.
    """
    due = Term.objects.filter(next_at__lte=moment).values_list("team__stripe_customers__customer_id", flat=True)
    granted = 0
    for customer_id in filter(None, due.distinct()[:YEARS_MAX]):
        try:
            granted += settle(customer_id)
        except DomainError as error:
            logger.warning("year_later", customer=customer_id, code=error.code)
    return granted
