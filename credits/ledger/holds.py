"""How credits are set aside for a job, and what becomes of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import starmap
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from psycopg.types.json import Jsonb

from credits.amounts import CENTI, show
from credits.errors import AlreadySettled, InsufficientCredits, PriceChanged, ReferenceTaken, WalletFrozen
from credits.ledger.books import Kind, Line, Spendable, burn, post, repay_debt, spendable
from credits.locks import lock_wallet
from credits.models import Grant, Hold, Uncollected, Wallet
from credits.pricing import Quote
from tenkaigen import alarms
from tenkaigen.failpoints import failpoint

IMAGE, CREDIT = Grant.Unit.IMAGE, Grant.Unit.CREDIT
Takes = list[tuple[Spendable, int]]

# A taken reference inserts neither hold nor parts: money moves only behind the row that names it.
INSERT = """
WITH hold AS (
    INSERT INTO credits_hold (id, wallet_id, reference, amount_centi, charged_centi, released_centi, pass_images,
        pass_images_charged, state, quote, expires_at)
    VALUES (%s, %s, %s, %s, 0, 0, %s, 0, 'pending', %s, statement_timestamp() + %s)
    ON CONFLICT (reference) DO NOTHING
    RETURNING id, expires_at
), parts AS (
    INSERT INTO credits_holdpart (hold_id, grant_id, amount_centi, charged_centi, released_centi)
    SELECT hold.id, part.*, 0, 0 FROM hold, unnest(%s::bigint[], %s::bigint[]) AS part
)
SELECT id, expires_at FROM hold
"""
PARTS = """
SELECT h.id, h.state, h.amount_centi, h.charged_centi, h.released_centi, h.pass_images, h.pass_images_charged,
    h.quote::text,
    p.id, p.amount_centi, g.id, g.unit, g.expires_at IS NOT NULL AND g.expires_at <= statement_timestamp()
FROM credits_hold h JOIN credits_holdpart p ON p.hold_id = h.id JOIN credits_grant g ON g.id = p.grant_id
WHERE h.reference = %s AND h.wallet_id = %s
ORDER BY p.id
"""
# The compare-and-set: the first end of a hold wins, and only behind it money moves.
END = """
WITH ended AS (
    UPDATE credits_hold SET state = %s, charged_centi = %s, released_centi = amount_centi - %s,
        pass_images_charged = %s, settled_at = statement_timestamp()
    WHERE id = %s AND state = 'pending'
    RETURNING id
), parts AS (
    UPDATE credits_holdpart p SET charged_centi = d.charged, released_centi = p.amount_centi - d.charged
    FROM ended, unnest(%s::bigint[], %s::bigint[]) AS d(id, charged)
    WHERE p.id = d.id
)
SELECT count(*) FROM ended
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a hold came to."""

    charged_centi: int
    released_centi: int
    is_new: bool  # False: it had ended before, and these are the first figures
    pass_images: int = 0  # paid by a pass
    uncollected_centi: int = 0  # delivered after the hold had ended, and the wallet could not pay any more


@dataclass(frozen=True, slots=True)
class Part:
    """What one grant gave to a hold."""

    id: int
    amount_centi: int
    grant_id: int
    unit: str
    grant_has_ended: bool


def reserve(
    *,
    team_id: UUID,
    quote: Quote,
    reference: str,
    expires_in: timedelta | None = None,
    at_most_centi: int | None = None,
) -> Hold:
    """Set aside what the quote costs: images of a running pass first, the rest in credits.

    The same reference again reserves nothing and returns the first hold. `at_most_centi` is the price in credits
    that somebody was shown; they are never charged more.

    Raises:
        InsufficientCredits: the wallet cannot cover the quote.
        PriceChanged: it costs more than `at_most_centi` now.
        WalletFrozen: the team is in debt or frozen.
        AlreadySettled: the hold of this reference has ended.
        ReferenceTaken: the reference holds something else.
        Busy: the wallet's lock did not come in time.
    """
    wallet = lock_wallet(team_id)
    grants = spendable(wallet, pass_side_px=quote.pass_side_px)
    images, takes = _take(quote, grants)
    refusal = _refusal(wallet, quote, images, takes, at_most_centi)
    hold = None if refusal else _insert(wallet, quote, reference, images, takes, expires_in)
    if hold is None:
        # Whoever repeats a reference hears of the first hold, whatever the wallet looks like now.
        if first := Hold.objects.filter(reference=reference).first():
            return _same_hold(first, wallet, quote)
        assert refusal
        raise refusal
    failpoint("reserve.before_entries")
    post(wallet, [Line(Kind.RESERVE, source.grant_id, amount, source.unit, hold.pk) for source, amount in takes])
    return hold


def settle(*, team_id: UUID, reference: str, delivered: int) -> Receipt:
    """End a hold: charge for `delivered` of what was quoted, release the rest to the grants it came from.

    Once only: a second call changes nothing and returns the first figures. When the sweep has ended the hold
    already, what was delivered is charged anew, or written down as uncollected: never lost in silence.

    Raises:
        Hold.DoesNotExist: nothing was reserved under this reference.
        Busy: the wallet's lock did not come in time.
    """
    wallet = lock_wallet(team_id)
    hold, parts = _read(wallet, reference)
    assert 0 <= delivered <= hold.quote["count"]
    pass_images = min(delivered, hold.pass_images)
    charge = hold.quote["unit_centi"] * (delivered - pass_images)
    if not _end(wallet, hold, parts, Hold.State.SETTLED, charge, pass_images):
        if hold.state == Hold.State.EXPIRED and delivered:
            return _settle_late(wallet, team_id, hold, delivered)
        return Receipt(hold.charged_centi, hold.released_centi, False, hold.pass_images_charged)
    return Receipt(charge, hold.amount_centi - charge, True, pass_images)


def lapse(*, team_id: UUID, reference: str) -> bool:
    """Give everything back of a hold whose job does not live any more. Whether it was still pending.

    Raises:
        Hold.DoesNotExist: nothing was reserved under this reference.
        Busy: the wallet's lock did not come in time.
    """
    wallet = lock_wallet(team_id)
    hold, parts = _read(wallet, reference)
    return _end(wallet, hold, parts, Hold.State.EXPIRED, 0, 0)


def _take(quote: Quote, grants: Sequence[Spendable]) -> tuple[int, Takes]:
    """How many images passes pay, and what every grant gives."""
    of_passes = burn([source for source in grants if source.unit == IMAGE], quote.count * CENTI)
    images = sum(amount for _, amount in of_passes) // CENTI
    credits = quote.unit_centi * (quote.count - images)
    return images, of_passes + burn([source for source in grants if source.unit == CREDIT], credits)


def _refusal(
    wallet: Wallet, quote: Quote, images: int, takes: Takes, at_most_centi: int | None
) -> WalletFrozen | InsufficientCredits | PriceChanged | None:
    if wallet.frozen_reason:
        return WalletFrozen(f"Spending is paused: {wallet.frozen_reason}. Contact support to go on.")
    if wallet.debt_centi:
        debt = show(wallet.debt_centi)
        return WalletFrozen(f"A refunded payment left {debt} credits to pay back. Add credits to go on.")
    price = quote.unit_centi * (quote.count - images)
    covered = sum(amount for source, amount in takes if source.unit == CREDIT)
    if covered < price:
        return InsufficientCredits(f"This costs {show(price)} credits; you have {show(covered)}.")
    if at_most_centi is not None and price > at_most_centi:
        return PriceChanged(price, at_most_centi)
    return None


def _insert(
    wallet: Wallet, quote: Quote, reference: str, images: int, takes: Takes, expires_in: timedelta | None
) -> Hold | None:
    """The new hold; None when its reference is taken."""
    hold = Hold(
        wallet=wallet,
        reference=reference,
        amount_centi=quote.unit_centi * (quote.count - images),
        pass_images=images,
        quote=quote.as_dict(),
    )
    seconds = expires_in or timedelta(seconds=settings.HOLD_SECONDS[quote.kind])
    columns = [[source.grant_id for source, _ in takes], [amount for _, amount in takes]]
    facts: list[Any] = [hold.pk, wallet.pk, reference, hold.amount_centi, images, Jsonb(hold.quote), seconds]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, facts + columns)
        row = cursor.fetchone()
    if row is None:
        return None
    hold.expires_at, hold._state.adding = row[1], False
    return hold


def _same_hold(hold: Hold, wallet: Wallet, quote: Quote) -> Hold:
    price = quote.unit_centi * (quote.count - hold.pass_images)
    if (hold.wallet_id, hold.amount_centi, hold.quote["count"]) != (wallet.pk, price, quote.count):
        raise ReferenceTaken("This reference holds another amount.")
    if hold.state != Hold.State.PENDING:
        raise AlreadySettled("This job has been settled.")
    return hold


def _read(wallet: Wallet, reference: str) -> tuple[Hold, list[Part]]:
    with connection.cursor() as cursor:
        cursor.execute(PARTS, [reference, wallet.pk])
        rows = cursor.fetchall()
    if not rows:
        raise Hold.DoesNotExist(f"Nothing was reserved under {reference!r}.")
    names = ("id", "state", "amount_centi", "charged_centi", "released_centi", "pass_images", "pass_images_charged")
    facts: dict[str, Any] = dict(zip(names, rows[0][:7], strict=True))
    hold = Hold(reference=reference, wallet=wallet, quote=json.loads(rows[0][7]), **facts)
    return hold, list(starmap(Part, (row[8:] for row in rows)))


def _end(wallet: Wallet, hold: Hold, parts: list[Part], state: str, charge: int, pass_images: int) -> bool:
    """Charge a hold's parts in burn order and give the rest back: what is released lives the longest."""
    left = {CREDIT: charge, IMAGE: pass_images * CENTI}
    charged = []
    for part in parts:
        charged.append(min(left[Grant.Unit(part.unit)], part.amount_centi))
        left[Grant.Unit(part.unit)] -= charged[-1]
    with connection.cursor() as cursor:
        cursor.execute(END, [state, charge, charge, pass_images, hold.pk, [part.id for part in parts], charged])
        if not cursor.fetchone()[0]:
            return False
    lines = []
    for part, paid in zip(parts, charged, strict=True):
        back = Kind.LAPSE if part.grant_has_ended else Kind.RELEASE  # expired credits never revive
        for kind, amount in ((Kind.SETTLE, paid), (back, part.amount_centi - paid)):
            if amount:
                lines.append(Line(kind, part.grant_id, amount, part.unit, hold.pk))
    failpoint("settle.before_entries")
    post(wallet, lines)
    repay_debt(wallet)
    return True


def _settle_late(wallet: Wallet, team_id: UUID, hold: Hold, delivered: int) -> Receipt:
    if first := Uncollected.objects.filter(hold_id=hold.pk).first():
        return Receipt(0, hold.amount_centi, False, uncollected_centi=first.amount_centi)
    late = f"{hold.reference}:late"
    quote = Quote.from_dict({**hold.quote, "count": delivered})
    try:
        reserve(team_id=team_id, quote=quote, reference=late)
    except (InsufficientCredits, WalletFrozen):
        owed = Uncollected.objects.create(hold_id=hold.pk, amount_centi=quote.total_centi, delivered=delivered)
        alarms.ring("uncollected", hold=hold.reference, amount_centi=owed.amount_centi)
        return Receipt(0, hold.amount_centi, True, uncollected_centi=owed.amount_centi)
    except AlreadySettled:
        pass  # this late settle came twice
    return settle(team_id=team_id, reference=late, delivered=delivered)
