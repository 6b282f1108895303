"""Money that goes back takes its credits back: in refunds unless they fail, in disputes until they are won.

All of it is worked out from the payment's row, under its lock, towards a target; so it may be called at any time and
as often as one likes. Credits are compared with credits: the share of the money that went back is the share of each
grant that goes.
"""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q, Sum
from django.db.models.functions import Now

from accounts import activity
from credits import ledger
from credits.amounts import CENTI
from credits.billing import shapes
from credits.models import Clawback, Dispute, Grant, Pass, Payment, Refund, Wallet

FROZEN = "A payment is disputed. Write to us."
ACTOR = "stripe"


@transaction.atomic
def note_refunds(payment_intent: str, *, charged_cents: int, refunds: Iterable[shapes.Refund]) -> bool:
    """Note what has gone back of a charge, and take the credits; a refund that failed undoes just its part.

    Refunds that are not named stay as they are, and one that has failed stays failed: older news change nothing.
    False where it is no payment of ours.

    Raises:
        Busy: the wallet's lock did not come in time.
    """
    payment = _locked(payment_intent)
    if payment is None:
        return False
    _correct(payment, charged_cents)
    for refund in refunds:
        _note(refund, payment)
    before, payment.refunded_cents = payment.refunded_cents, _refunded(payment)
    if payment.refunded_cents != before:
        payment.save(update_fields=["refunded_cents"])
        verb = "billing.refunded" if payment.refunded_cents > before else "billing.refund_failed"
        activity.record(team=payment.team, actor=ACTOR, verb=verb, target=payment_intent)
    apply(payment)
    return True


@transaction.atomic
def note_dispute(payment_intent: str, *, dispute_id: str, charged_cents: int, amount_cents: int, state: str) -> bool:
    """Note how a dispute stands. Open or lost it freezes the wallet and takes the credits; won it undoes just that.

    A dispute that has ended stays as it ended. False where it is no payment of ours.

    Raises:
        Busy: the wallet's lock did not come in time.
    """
    payment = _locked(payment_intent)
    if payment is None:
        return False
    _correct(payment, charged_cents)
    dispute, is_new = Dispute.objects.get_or_create(
        dispute_id=dispute_id, defaults={"payment": payment, "amount_cents": amount_cents, "state": state}
    )
    has_moved = is_new or (dispute.state == Dispute.State.OPEN and state != Dispute.State.OPEN)
    if has_moved:
        Dispute.objects.filter(pk=dispute.pk).update(state=state, amount_cents=amount_cents, updated_at=Now())
        activity.record(team=payment.team, actor=ACTOR, verb=f"billing.dispute_{state}", target=dispute_id)
    apply(payment)
    if has_moved:  # after it: whoever starts a pass locks the pass, then the wallet
        _freeze_or_thaw(payment, state)
    return True


def apply(payment: Payment) -> None:
    """Take from every grant of a payment what its refunds and disputes ask for. Its row must be locked."""
    waiting = Pass.objects.filter(reference=reference_of(payment.payment_intent), grant=None)
    for found in waiting.select_for_update(no_key=True):
        _withdraw(found, payment)
    grants = Grant.objects.filter(
        Q(payment_ref=payment.payment_intent) | Q(of_pass__reference=reference_of(payment.payment_intent))
    )
    disputes = list(payment.disputes.order_by("created_at", "dispute_id"))
    for grant in grants.order_by("pk"):
        _take_refunds(grant, payment)
        for dispute in disputes:
            _take_dispute(grant, payment, dispute)


def reference_of(payment_intent: str) -> str:
    return f"pi:{payment_intent}"


def _locked(payment_intent: str) -> Payment | None:
    locked = Payment.objects.select_for_update(of=("self",), no_key=True).select_related("team")
    return locked.filter(pk=payment_intent).first()


def _correct(payment: Payment, charged_cents: int) -> None:
    """A balance that the customer had may have paid a part of the invoice: only what was charged can go back."""
    if charged_cents and charged_cents != payment.amount_cents:
        payment.amount_cents = charged_cents
        payment.save(update_fields=["amount_cents"])


def _note(refund: shapes.Refund, payment: Payment) -> None:
    facts = {"payment": payment, "amount_cents": refund.amount_cents, "has_failed": refund.has_failed}
    _, is_new = Refund.objects.get_or_create(refund_id=refund.id, defaults=facts)
    if refund.has_failed and not is_new:
        Refund.objects.filter(pk=refund.id, has_failed=False).update(has_failed=True, updated_at=Now())


def _refunded(payment: Payment) -> int:
    """What has gone back in all."""
    stands = payment.refunds.filter(has_failed=False).aggregate(cents=Sum("amount_cents"))
    return min(int(stands["cents"] or 0), payment.amount_cents)


def _share(grant: Grant, cents: int, payment: Payment) -> int:
    """That part of a grant, rounded down, and of a pass in whole images."""
    step = CENTI if grant.unit == Grant.Unit.IMAGE else 1
    return grant.granted_centi // step * min(cents, payment.amount_cents) // payment.amount_cents * step


def _take_refunds(grant: Grant, payment: Payment) -> None:
    """Each clawback goes on where the one before it ended, and the target that it reached stands in its reference."""
    prefix = f"refund:{payment.payment_intent}:{grant.pk}:"
    clawbacks = Clawback.objects.filter(grant=grant, reference__startswith=prefix)
    target, taken = _share(grant, payment.refunded_cents, payment), 0
    for clawback in clawbacks.filter(undone_at=None).order_by("-pk"):
        reached = int(clawback.reference.removeprefix(prefix).split(":")[0])
        if reached <= target:
            taken = max(taken, reached)
        else:
            ledger.reinstate(
                team_id=payment.team_id, reference=clawback.reference, actor=ACTOR,
                reason="The refund of the payment failed",
            )  # fmt: skip
    if target > taken:
        undone = clawbacks.exclude(undone_at=None).count()
        ledger.revoke(
            team_id=payment.team_id, grant_id=grant.pk, amount_centi=target - taken,
            reference=f"{prefix}{target}:{undone}" if undone else f"{prefix}{target}",
            actor=ACTOR, reason="The payment was refunded",
        )  # fmt: skip


def _take_dispute(grant: Grant, payment: Payment, dispute: Dispute) -> None:
    reference = f"dispute:{dispute.dispute_id}:{grant.pk}"
    if dispute.state == Dispute.State.WON:
        if Clawback.objects.filter(reference=reference, undone_at=None).exists():
            ledger.reinstate(
                team_id=payment.team_id, reference=reference, actor=ACTOR, reason="The dispute of its payment was won"
            )
    elif amount := _share(grant, dispute.amount_cents, payment):
        ledger.revoke(
            team_id=payment.team_id, grant_id=grant.pk, amount_centi=amount, reference=reference, actor=ACTOR,
            reason="The payment is disputed",
        )  # fmt: skip


def _withdraw(found: Pass, payment: Payment) -> None:
    """A pass that nobody has started yet can be taken whole, and given back whole."""
    is_disputed = payment.disputes.exclude(state=Dispute.State.WON).exists()
    is_gone = is_disputed or payment.refunded_cents >= payment.amount_cents
    if is_gone != (found.withdrawn_at is not None):
        Pass.objects.filter(pk=found.pk).update(withdrawn_at=Now() if is_gone else None)


def _freeze_or_thaw(payment: Payment, state: str) -> None:
    """Only our own reason is lifted; a lost dispute stays one until staff decide."""
    reason = Wallet.objects.filter(team_id=payment.team_id).values_list("frozen_reason", flat=True).first() or ""
    others = Dispute.objects.filter(payment__team_id=payment.team_id).exclude(state=Dispute.State.WON)
    if state != Dispute.State.WON and not reason:
        ledger.freeze(team_id=payment.team_id, reason=FROZEN)
    elif state == Dispute.State.WON and reason == FROZEN and not others.exists():
        ledger.unfreeze(team_id=payment.team_id)
