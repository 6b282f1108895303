"""The inbox: events are noted here by the webhook, and worked off here by a worker.

A line says only which object to look at. It is claimed by moving its next turn ahead, with nothing locked while
Stripe is asked; a worker that dies leaves it to the next one. One that cannot be worked off waits longer each time,
holds up nobody, and rings an alarm.
"""

from collections.abc import Callable, Mapping

import structlog
from django.db import connection
from django.db.models.functions import Now

from credits.billing import charges, client, customers, farewell, follow, sales, shapes, takebacks
from credits.billing.errors import Gone
from credits.models import Dispute, StripeCustomer, StripeEvent
from tenkaigen import alarms
from tenkaigen.failpoints import failpoint

BATCH_MAX = 200  # events a call
RETRY_SECONDS = 10
RETRY_SECONDS_MAX = 3600
ALARM_ATTEMPTS = 5
ERROR_CHARACTERS = 300
TEAM_CHANGED = "team.changed"  # our own: a team is called otherwise, was deleted or restored; Stripe must hear of it
logger = structlog.get_logger(__name__)

CLAIM = """
UPDATE credits_stripeevent SET attempts = attempts + 1,
    due_at = statement_timestamp() + least(%s * power(2, least(attempts, 20)), %s) * interval '1 second'
WHERE event_id = (
    SELECT event_id FROM credits_stripeevent
    WHERE processed_at IS NULL AND due_at <= statement_timestamp()
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING event_id
"""


def note(*, event_id: str, type: str, object_id: str) -> bool:
    """Leave a line, once for each event; whether it was new."""
    _, is_new = StripeEvent.objects.get_or_create(event_id=event_id, defaults={"type": type, "object_id": object_id})
    return is_new


def work_off() -> int:
    """Work off what is due, and return how many were done. Any number of workers may do this at once."""
    done = 0
    for _ in range(BATCH_MAX):
        event = _claim()
        if event is None:
            break
        done += process(event)
    return done


def process(event: StripeEvent) -> bool:
    """Do what an event asks for. A failure is kept on its line for the next turn; whether it is done now."""
    try:
        failpoint("billing.before_handling")
        HANDLERS[event.type](event.object_id)
    except Exception as error:
        logger.warning(
            "stripe_event_failed", stripe_event=event.pk, type=event.type, attempts=event.attempts, exc_info=True
        )
        reason = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS]
        StripeEvent.objects.filter(pk=event.pk).update(last_error=reason)
        if event.attempts == ALARM_ATTEMPTS:
            alarms.ring("stripe_event_stuck", stripe_event=event.pk, type=event.type, reason=reason)
        return False
    StripeEvent.objects.filter(pk=event.pk, processed_at=None).update(processed_at=Now(), last_error="")
    return True


def retry(event_id: str) -> None:
    """Let an event have its turn again at once, also one that was done."""
    StripeEvent.objects.filter(pk=event_id).update(processed_at=None, due_at=Now(), attempts=0)


def _claim() -> StripeEvent | None:
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [RETRY_SECONDS, RETRY_SECONDS_MAX])
        row = cursor.fetchone()
    return StripeEvent.objects.get(pk=row[0]) if row else None


def _of_invoice(invoice_id: str) -> None:
    follow.settle(shapes.invoice(client.fetch("invoices", invoice_id)).customer_id)


def _of_subscription(subscription_id: str) -> None:
    customer_id = shapes.subscription(client.fetch("subscriptions", subscription_id)).customer_id
    follow.settle(customer_id)
    known = customers.find(customer_id)
    if known and known.team.closed_at:  # paid in a checkout that was open when the team was deleted
        farewell.settle_team(str(known.team_id))


def _of_charge(charge_id: str) -> None:
    charge, refunds = charges.read(charge_id)
    if refunds:
        _when_known(
            charge,
            lambda: takebacks.note_refunds(charge.payment_intent, charged_cents=charge.amount_cents, refunds=refunds),
        )


def _of_refund(refund_id: str) -> None:
    charge_id = client.fetch("refunds", refund_id).get("charge")
    if charge_id:  # the money of some ways to pay goes back without one, and nobody pays here in these
        _of_charge(charge_id)


def _of_dispute(dispute_id: str) -> None:
    dispute = shapes.dispute(client.fetch("disputes", dispute_id))
    state = DISPUTE_STATES.get(dispute.status)
    if state is None:
        return  # an inquiry: no money has moved
    charge = shapes.charge(client.fetch("charges", dispute.charge_id))
    _when_known(
        charge,
        lambda: takebacks.note_dispute(
            charge.payment_intent,
            dispute_id=dispute.id,
            charged_cents=charge.amount_cents,
            amount_cents=dispute.amount_cents,
            state=state,
        ),
    )


def _when_known(charge: shapes.Charge, act: Callable[[], bool]) -> None:
    """Do it; where we have not heard of the payment yet, hear of it first."""
    if act() or not charge.payment_intent:  # what no checkout and no invoice asked for is not ours
        return
    for session in client.each("checkout.sessions", at_most=10, payment_intent=charge.payment_intent):
        sales.deliver(session["id"])
    if charge.customer_id:
        follow.settle(charge.customer_id)
    if not act():
        logger.info("stripe_payment_unknown", payment=charge.payment_intent)


def _of_customer(customer_id: str) -> None:
    known = StripeCustomer.objects.filter(customer_id=customer_id).first()
    if known is None:
        return
    try:
        is_gone = bool(client.fetch("customers", customer_id).get("deleted"))
    except Gone:
        is_gone = True
    if is_gone:
        customers.forget(known)


DISPUTE_STATES: Mapping[str, str] = {
    "needs_response": Dispute.State.OPEN,
    "under_review": Dispute.State.OPEN,
    "won": Dispute.State.WON,
    "prevented": Dispute.State.WON,
    "lost": Dispute.State.LOST,
}
HANDLERS: Mapping[str, Callable[[str], object]] = {
    "invoice.paid": _of_invoice,
    "invoice.payment_failed": _of_invoice,
    "customer.subscription.created": _of_subscription,
    "customer.subscription.updated": _of_subscription,
    "customer.subscription.deleted": _of_subscription,
    "customer.subscription.paused": _of_subscription,
    "customer.subscription.resumed": _of_subscription,
    "customer.deleted": _of_customer,
    "checkout.session.completed": sales.deliver,
    "checkout.session.async_payment_succeeded": sales.deliver,
    "checkout.session.async_payment_failed": sales.give_up,
    "checkout.session.expired": sales.deliver,
    "charge.refunded": _of_charge,
    "refund.updated": _of_refund,
    "refund.failed": _of_refund,
    "charge.dispute.created": _of_dispute,
    "charge.dispute.updated": _of_dispute,
    "charge.dispute.closed": _of_dispute,
    "charge.dispute.funds_withdrawn": _of_dispute,
    "charge.dispute.funds_reinstated": _of_dispute,
    TEAM_CHANGED: farewell.settle_team,
}
EVENTS = tuple(kind for kind in HANDLERS if kind != TEAM_CHANGED)  # what the endpoint at Stripe is asked to send
