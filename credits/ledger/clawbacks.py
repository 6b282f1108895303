"""How credits are taken back, and given back when that was wrong."""

import re
from uuid import UUID

from django.db.models import Sum
from django.db.models.functions import Now

from credits.amounts import show
from credits.errors import InsufficientCredits, ReferenceTaken
from credits.ledger.books import Kind, Line, Spendable, burn, post, repay_debt, spendable
from credits.ledger.grants import check_amount, grant
from credits.locks import lock_wallet
from credits.models import Clawback, Grant, Wallet


def revoke(*, team_id: UUID, grant_id: int, amount_centi: int, reference: str, actor: str, reason: str) -> Clawback:
    """Take credits of one grant back, as after a refund: what is there first; what was used becomes debt.

    Never more than the grant gave, never from what a running job holds. The same reference again takes nothing
    and returns the first clawback.

    Raises:
        InvalidAmount: not a whole number of hundredths from 1 to `AMOUNT_CENTI_MAX`, or not whole images.
        ReferenceTaken: the reference was used for another grant.
        Busy: the wallet's lock did not come in time.
    """
    check_amount(amount_centi)
    wallet = lock_wallet(team_id)
    if first := Clawback.objects.filter(reference=reference).first():
        if first.grant_id != grant_id:
            raise ReferenceTaken(f"The reference {reference} took another grant back.")
        return first
    source = Grant.objects.get(pk=grant_id, wallet=wallet)
    check_amount(amount_centi, of_images=source.unit == Grant.Unit.IMAGE)
    revoked = min(amount_centi, source.available_centi)
    owed = min(amount_centi - revoked, _used(source))
    made = Clawback.objects.create(reference=reference, grant=source, revoked_centi=revoked, owed_centi=owed)
    parts = ((Kind.REVOKE, revoked), (Kind.OWE, owed))
    lines = [Line(kind, source.pk, amount, source.unit) for kind, amount in parts if amount]
    post(wallet, lines, actor=actor, reason=reason)
    repay_debt(wallet)
    return made


def reinstate(*, team_id: UUID, reference: str, actor: str, reason: str) -> Clawback:
    """Undo a clawback exactly, as after a won dispute. Again does nothing.

    What it took goes back to its grant, or, where that has ended, into a new one without an end. What it made a
    debt is forgiven, or given back where it has been paid meanwhile.

    Raises:
        Clawback.DoesNotExist: nothing was taken under this reference.
        Busy: the wallet's lock did not come in time.
    """
    wallet = lock_wallet(team_id)
    clawback = Clawback.objects.select_related("grant").get(reference=reference, grant__wallet=wallet)
    if not Clawback.objects.filter(pk=clawback.pk, undone_at=None).update(undone_at=Now()):
        return clawback
    source = clawback.grant
    forgiven = min(clawback.owed_centi, wallet.debt_centi)
    anew = clawback.owed_centi - forgiven
    lines = [Line(Kind.FORGIVE, source.pk, forgiven)] if forgiven else []
    if clawback.revoked_centi:
        if _has_ended(source):
            anew += clawback.revoked_centi
        else:
            lines.append(Line(Kind.REINSTATE, source.pk, clawback.revoked_centi, source.unit))
    post(wallet, lines, actor=actor, reason=reason)
    if anew and source.unit == Grant.Unit.CREDIT:
        grant(
            team_id=team_id, amount_centi=anew, source=Grant.Source.ADJUSTMENT, source_ref=f"reinstate:{reference}",
            actor=actor, reason=reason,
        )  # fmt: skip
    repay_debt(Wallet.objects.get(pk=wallet.pk))
    clawback.refresh_from_db()
    return clawback


def take(*, team_id: UUID, amount_centi: int, reference: str, actor: str, reason: str) -> int:
    """Take credits away by hand, in burn order. The same reference again takes nothing. What was taken now.

    Raises:
        InvalidAmount: not a whole number of hundredths from 1 to `AMOUNT_CENTI_MAX`.
        InsufficientCredits: the wallet has less available.
        ReferenceTaken: the reference took another amount, or from another team.
        Busy: the wallet's lock did not come in time.
    """
    check_amount(amount_centi)
    wallet = lock_wallet(team_id)
    if taken := _taken(reference):
        if taken != {(wallet.pk, amount_centi)}:
            raise ReferenceTaken(f"The reference {reference} took something else.")
        return 0
    takes = burn(spendable(wallet), amount_centi)
    covered = sum(amount for _, amount in takes)
    if covered < amount_centi:
        raise InsufficientCredits(f"The team has {show(covered)} credits to take, not {show(amount_centi)}.")
    Clawback.objects.bulk_create(
        Clawback(reference=_place(reference, place), grant_id=source.grant_id, revoked_centi=amount, owed_centi=0)
        for place, (source, amount) in enumerate(takes, start=1)
    )
    post(wallet, [_revoked(*part) for part in takes], actor=actor, reason=reason)
    return amount_centi


def _taken(reference: str) -> set[tuple[int, int]]:
    """The wallet and the amount that a reference took; empty when it took nothing yet."""
    parts = Clawback.objects.filter(reference__regex=rf"^{re.escape(reference)}#\d+$").values_list("grant__wallet")
    return set(parts.annotate(amount=Sum("revoked_centi")))


def _revoked(source: Spendable, amount_centi: int) -> Line:
    return Line(Kind.REVOKE, source.grant_id, amount_centi)


def _place(reference: str, number: int) -> str:
    return f"{reference}#{number}"


def _used(source: Grant) -> int:
    """What of a grant was spent or is set aside, and was not made a debt before. Images of a pass leave no debt."""
    if source.unit == Grant.Unit.IMAGE:
        return 0
    owed_before = sum(source.clawbacks.filter(undone_at=None).values_list("owed_centi", flat=True))
    return source.spent_centi + source.held_centi - owed_before


def _has_ended(source: Grant) -> bool:
    return Grant.objects.filter(pk=source.pk, expires_at__lte=Now()).exists()
