"""How credits come and run out."""

from datetime import datetime
from uuid import UUID

from django.db import connection

from credits.amounts import AMOUNT_CENTI_MAX, CENTI
from credits.errors import InvalidAmount, ReferenceTaken
from credits.ledger.books import Kind, Line, post, repay_debt
from credits.locks import lock_wallet
from credits.models import Grant, Wallet
from tenkaigen.failpoints import failpoint

# Among grants that end together: a pass, then what comes back by itself, then gifts, then what was paid for.
BURN_RANK = {
    Grant.Source.PASS: 10,
    Grant.Source.PLAN: 20,
    Grant.Source.BONUS: 30,
    Grant.Source.ADJUSTMENT: 35,
    Grant.Source.PURCHASE: 40,
}
EXPIRE_MAX = 500  # grants a call

INSERT = """
INSERT INTO credits_grant (wallet_id, unit, covers_px, source, source_ref, burn_rank, effective_at, expires_at,
    granted_centi, available_centi, held_centi, spent_centi, expired_centi, revoked_centi, payment_ref)
VALUES (%s, %s, %s, %s, %s, %s, coalesce(%s, statement_timestamp()), %s, %s, %s, 0, 0, 0, 0, %s)
ON CONFLICT (source, source_ref) DO NOTHING
RETURNING id
"""


def grant(
    *,
    team_id: UUID,
    amount_centi: int,
    source: str,
    source_ref: str,
    effective_at: datetime | None = None,
    expires_at: datetime | None = None,
    payment_ref: str = "",
    covers_px: int | None = None,
    actor: str = "system",
    reason: str = "",
) -> Grant:
    """Give credits to a team. The same `source` and `source_ref` again gives nothing and returns the first grant.

    With `covers_px`, the longest side of a picture, it gives images of a pass instead: 100 an image. An open debt
    is paid from it first. `is_new` of what it returns says whether it gave now.

    Raises:
        InvalidAmount: not a whole number of hundredths from 1 to `AMOUNT_CENTI_MAX`, or not whole images.
        ReferenceTaken: the reference was used for another team or amount.
        UnknownTeam: there is no such team.
        Busy: the wallet's lock did not come in time.
    """
    check_amount(amount_centi, of_images=covers_px is not None)
    wallet = lock_wallet(team_id)
    unit = Grant.Unit.CREDIT if covers_px is None else Grant.Unit.IMAGE
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT,
            [
                wallet.pk, unit, covers_px, source, source_ref, BURN_RANK[Grant.Source(source)], effective_at,
                expires_at, amount_centi, amount_centi, payment_ref,
            ],
        )  # fmt: skip
        row = cursor.fetchone()
    if row is None:
        return _first(wallet, source, source_ref, amount_centi)
    failpoint("grant.before_entries")
    post(wallet, [Line(Kind.GRANT, row[0], amount_centi, unit)], actor=actor, reason=reason)
    repay_debt(wallet)
    made = Grant.objects.get(pk=row[0])
    made.is_new = True
    return made


def expire(*, team_id: UUID) -> int:
    """Write off what is left of a team's ended grants; nobody could spend it any more. Hundredths written off.

    Raises:
        Busy: the wallet's lock did not come in time.
    """
    wallet = lock_wallet(team_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, available_centi, unit FROM credits_grant WHERE wallet_id = %s AND available_centi > 0"
            " AND expires_at <= statement_timestamp() ORDER BY id LIMIT %s",
            [wallet.pk, EXPIRE_MAX],
        )
        lines = [Line(Kind.EXPIRE, *row) for row in cursor.fetchall()]
    failpoint("expire.before_entries")
    post(wallet, lines, reason="Its time ran out")
    return sum(line.amount_centi for line in lines)


def freeze(*, team_id: UUID, reason: str) -> None:
    """Let a team spend nothing more, for a reason that it is shown. Running jobs end and are charged."""
    assert reason
    wallet = lock_wallet(team_id)
    Wallet.objects.filter(pk=wallet.pk).update(frozen_reason=reason)


def unfreeze(*, team_id: UUID) -> None:
    """Let a team spend again."""
    wallet = lock_wallet(team_id)
    Wallet.objects.filter(pk=wallet.pk).update(frozen_reason="")


def check_amount(amount_centi: int, *, of_images: bool = False) -> None:
    """Refuse what is no amount.

    Raises:
        InvalidAmount: not a whole number of hundredths from 1 to `AMOUNT_CENTI_MAX`, or not whole images.
    """
    # A bool is an int to Python, and never an amount.
    if type(amount_centi) is not int or not 0 < amount_centi <= AMOUNT_CENTI_MAX:
        raise InvalidAmount(f"The amount must be from 0.01 to {AMOUNT_CENTI_MAX // CENTI:,} credits.")
    if of_images and amount_centi % CENTI:
        raise InvalidAmount("A pass holds whole images.")


def _first(wallet: Wallet, source: str, source_ref: str, amount_centi: int) -> Grant:
    first = Grant.objects.get(source=source, source_ref=source_ref)
    if (first.wallet_id, first.granted_centi) != (wallet.pk, amount_centi):
        raise ReferenceTaken(f"The reference {source}:{source_ref} stands for another grant.")
    return first
