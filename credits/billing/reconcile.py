"""Compares what Stripe was paid with what we granted: the net under lost webhooks and our own mistakes."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

import structlog

from credits.billing import charges, client, customers, dues, follow, sales, shapes, takebacks
from credits.billing.errors import Gone, UnknownPrice
from credits.billing.shapes import Invoice, Session, Sub
from credits.clock import now
from credits.models import Grant, Pass, Payment, Purchase, StripeCustomer, Subscription
from tenkaigen import alarms

DAYS = 35  # a month and the days that Stripe keeps trying to tell us
DAYS_MAX = 730
OBJECTS_MAX = 50_000  # of each kind
CALLS_KEPT_DAYS = 90
logger = structlog.get_logger(__name__)


def differences(*, repair: bool = False, days: int = DAYS) -> Iterator[str]:
    """Every difference of the last days, one line each; with `repair` each is put right as it is found.

    Raises:
        BillingOff, StripeUnavailable, Busy.
    """
    since = now() - timedelta(days=days)
    yield from _of_subscriptions(since, repair)
    yield from _of_sessions(since, repair)
    yield from _of_refunds(since, repair)


def check_and_alarm() -> int:
    """The daily run: put right what differs, and ring, because it should not have. How many differences."""
    found = list(differences(repair=True))
    for line in found:
        logger.error("billing_differs", what=line)
    if found:
        alarms.ring("billing_differs", count=len(found), first=found[0])
    return len(found)


def forget_old_calls() -> int:
    """Delete what webhook calls said long ago: bodies with names and addresses. The inbox's lines stay."""
    from djstripe.models import Event, WebhookEventTrigger

    before = now() - timedelta(days=CALLS_KEPT_DAYS)
    calls, _ = WebhookEventTrigger.objects.filter(created__lt=before).delete()
    events, _ = Event.objects.filter(djstripe_created__lt=before).delete()
    return int(calls) + int(events)


def _of_subscriptions(since: datetime, repair: bool) -> Iterator[str]:
    """Whoever paid an invoice lately, or has a subscription by our rows."""
    paid: dict[str, list[Invoice]] = defaultdict(list)
    for data in client.each("invoices", at_most=OBJECTS_MAX, status="paid", created={"gte": int(since.timestamp())}):
        invoice = shapes.invoice(data)
        if invoice.subscription_id:
            paid[invoice.customer_id].append(invoice)
    followed = StripeCustomer.objects.filter(gone_at=None).exclude(team__subscription__external_ref="")
    known = followed.filter(team__subscription__isnull=False).values_list("customer_id", flat=True)
    for customer_id in sorted({*paid, *known}):
        yield from _of_customer(customer_id, paid[customer_id], repair)


def _of_customer(customer_id: str, paid: list[Invoice], repair: bool) -> Iterator[str]:
    customer = customers.find(customer_id)
    if customer is None:
        yield from (f"invoice {one.id}: nobody here is its customer {customer_id}" for one in paid)
        return
    found = client.each("subscriptions", at_most=follow.SUBSCRIPTIONS_MAX, customer=customer_id, status="all")
    subs = [shapes.subscription(one) for one in found]
    try:
        differing = [*_plan_differs(customer, subs), *_grants_missing(customer_id, subs)]
        yield from differing
        if differing and repair:
            follow.settle(customer_id)
    except UnknownPrice as error:
        yield f"customer {customer_id}: {error}"


def _plan_differs(customer: StripeCustomer, subs: list[Sub]) -> Iterator[str]:
    wanted = follow.chosen(subs, follow.known_prices())
    row = Subscription.objects.filter(team_id=customer.team_id).select_related("plan").first()
    ours = f"{row.plan.slug} by {row.external_ref}" if row and row.external_ref else "none"
    theirs = f"{wanted[1].plan.slug} by {wanted[0].id}" if wanted else "none"
    if ours != theirs:
        yield f"team {customer.team_id}: the plan is {theirs} at Stripe, {ours} here"


def _grants_missing(customer_id: str, subs: list[Sub]) -> Iterator[str]:
    prices = follow.known_prices()
    for sub, invoices in follow.paid(customer_id, subs):
        for due in follow.missing(dues.of(sub, invoices, prices, now()).grants):
            yield f"invoice {due.invoice.id}: no grant {due.reference} of {due.amount_centi}"


def _of_sessions(since: datetime, repair: bool) -> Iterator[str]:
    created = {"gte": int(since.timestamp())}
    for data in client.each("checkout.sessions", at_most=OBJECTS_MAX, status="complete", created=created):
        session = shapes.session(data)
        is_ours = bool(session.purchase_id) and session.mode == "payment" and session.is_paid
        if is_ours and not _is_delivered(session):
            yield f"checkout {session.id}: purchase {session.purchase_id} was paid and not delivered"
            if repair:
                sales.deliver(session.id)


def _is_delivered(session: Session) -> bool:
    reference = takebacks.reference_of(session.payment_intent) if session.payment_intent else f"cs:{session.id}"
    goods = (
        Grant.objects.filter(source=Grant.Source.PURCHASE, source_ref=reference),
        Pass.objects.filter(reference=reference),
    )
    is_noted = Purchase.objects.filter(session_id=session.id, state=Purchase.State.PAID).exists()
    return is_noted and any(rows.exists() for rows in goods)


def _of_refunds(since: datetime, repair: bool) -> Iterator[str]:
    touched = {
        str(data["charge"])
        for data in client.each("refunds", at_most=OBJECTS_MAX, created={"gte": int(since.timestamp())})
        if data.get("charge")
    }
    for charge_id in sorted(touched):
        try:
            charge, refunds = charges.read(charge_id)
        except Gone:
            continue
        payment = Payment.objects.filter(pk=charge.payment_intent).first()
        gone_cents = min(sum(one.amount_cents for one in refunds if not one.has_failed), charge.amount_cents)
        if payment and payment.refunded_cents != gone_cents:
            yield f"payment {payment.pk}: {gone_cents} went back, {payment.refunded_cents} here"
            if repair:
                takebacks.note_refunds(payment.pk, charged_cents=charge.amount_cents, refunds=refunds)
