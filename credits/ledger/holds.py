"""How credits are set aside for a job, and what becomes of them. Both happen in functions.sql, in one round trip."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection

from credits.amounts import AMOUNT_CENTI_MAX, show
from credits.errors import AlreadySettled, InsufficientCredits, PriceChanged, ReferenceTaken, WalletFrozen
from credits.ledger.books import repay_debt
from credits.locks import lock_wallet, waiting
from credits.models import Hold, Uncollected
from credits.pricing import Quote
from tenkaigen import alarms
from tenkaigen.failpoints import failpoint

RESERVE = "SELECT * FROM credits_reserve(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
SETTLE = "SELECT * FROM credits_settle(%s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a hold came to."""

    charged_centi: int
    released_centi: int
    is_new: bool  # False: it had ended before, and these are the first figures
    pass_images: int = 0  # paid by a pass
    uncollected_centi: int = 0  # delivered after the hold had ended, and the wallet could not pay any more


@dataclass(frozen=True, slots=True)
class Attempt:
    """What `credits_reserve` found, and did where `made_until` says so."""

    made_until: datetime | None
    wallet_id: int | None
    frozen_reason: str
    debt_centi: int
    images: int
    covered_centi: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What `credits_settle` found, and did where it `is_new`."""

    hold_id: UUID
    is_new: bool
    state: str
    charged_centi: int
    released_centi: int
    images: int
    debt_centi: int

    @property
    def receipt(self) -> Receipt:
        return Receipt(self.charged_centi, self.released_centi, self.is_new, self.images)


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
        UnknownTeam: there is no such team.
        Busy: the wallet's lock did not come in time.
    """
    lasts = expires_in or timedelta(seconds=settings.HOLD_SECONDS[quote.kind])
    hold = Hold(id=uuid4(), reference=reference, quote=quote.as_dict())
    at_most = None if at_most_centi is None else min(at_most_centi, AMOUNT_CENTI_MAX)  # what people send has no end
    facts = (json.dumps(hold.quote), quote.unit_centi, quote.count, quote.pass_side_px, at_most, lasts)
    attempt = _attempt(team_id, hold, *facts)
    if attempt.wallet_id is None or attempt.debt_centi:
        # The first act of a team makes its wallet. Credits that have begun to count since may pay its debt.
        repay_debt(lock_wallet(team_id))
        attempt = _attempt(team_id, hold, *facts)
    assert attempt.wallet_id is not None
    if attempt.made_until is None:
        # Whoever repeats a reference hears of the first hold, whatever the wallet looks like now.
        if first := Hold.objects.filter(reference=reference).first():
            return _same_hold(first, attempt.wallet_id, quote)
        raise _refusal(attempt, quote, at_most_centi)
    failpoint("reserve.after_entries")
    hold.wallet_id, hold.expires_at = attempt.wallet_id, attempt.made_until
    hold.amount_centi, hold.pass_images = attempt.covered_centi, attempt.images
    hold._state.adding = False
    return hold


def settle(*, team_id: UUID, reference: str, delivered: int) -> Receipt:
    """End a hold: charge for `delivered` of what was quoted, release the rest to the grants it came from.

    Once only: a second call changes nothing and returns the first figures. When the sweep has ended the hold
    already, what was delivered is charged anew, or written down as uncollected: never lost in silence.

    Raises:
        Hold.DoesNotExist: nothing was reserved under this reference.
        Busy: the wallet's lock did not come in time.
    """
    assert delivered >= 0
    ending = _end(team_id, reference, delivered)
    if ending.state == Hold.State.EXPIRED and delivered:
        return _settle_late(team_id, Hold.objects.get(pk=ending.hold_id), delivered)
    return ending.receipt


def lapse(*, team_id: UUID, reference: str) -> bool:
    """Give everything back of a hold whose job does not live any more. Whether it was still pending.

    Raises:
        Hold.DoesNotExist: nothing was reserved under this reference.
        Busy: the wallet's lock did not come in time.
    """
    return _end(team_id, reference, None).is_new


def _attempt(team_id: UUID, hold: Hold, *facts: Any) -> Attempt:
    with waiting(), connection.cursor() as cursor:
        cursor.execute(RESERVE, [team_id, hold.pk, hold.reference, *facts])
        return Attempt(*cursor.fetchone())


def _refusal(
    attempt: Attempt, quote: Quote, at_most_centi: int | None
) -> WalletFrozen | InsufficientCredits | PriceChanged:
    if attempt.frozen_reason:
        return WalletFrozen(f"Spending is paused: {attempt.frozen_reason}. Contact support to go on.")
    if attempt.debt_centi:
        debt = show(attempt.debt_centi)
        return WalletFrozen(f"A refunded payment left {debt} credits to pay back. Add credits to go on.")
    price = quote.unit_centi * (quote.count - attempt.images)
    if attempt.covered_centi < price:
        return InsufficientCredits(f"This costs {show(price)} credits; you have {show(attempt.covered_centi)}.")
    assert at_most_centi is not None
    return PriceChanged(price, at_most_centi)


def _same_hold(hold: Hold, wallet_id: int, quote: Quote) -> Hold:
    price = quote.unit_centi * (quote.count - hold.pass_images)
    if (hold.wallet_id, hold.amount_centi, hold.quote["count"]) != (wallet_id, price, quote.count):
        raise ReferenceTaken("This reference holds another amount.")
    if hold.state != Hold.State.PENDING:
        raise AlreadySettled("This job has been settled.")
    return hold


def _end(team_id: UUID, reference: str, delivered: int | None) -> Ending:
    with waiting(), connection.cursor() as cursor:
        cursor.execute(SETTLE, [team_id, reference, delivered])
        row = cursor.fetchone()
    if row[0] is None:
        raise Hold.DoesNotExist(f"Nothing was reserved under {reference!r}.")
    ending = Ending(*row)
    if ending.is_new:
        failpoint("settle.after_entries")
        if ending.debt_centi:
            repay_debt(lock_wallet(team_id))
    return ending


def _settle_late(team_id: UUID, hold: Hold, delivered: int) -> Receipt:
    if first := Uncollected.objects.filter(hold_id=hold.pk).first():
        return Receipt(0, hold.amount_centi, False, uncollected_centi=first.amount_centi)
    late = f"{hold.reference}:late"
    if paid := Hold.objects.filter(reference=late).first():
        return Receipt(paid.charged_centi, paid.released_centi, False, paid.pass_images_charged)
    quote = Quote.from_dict({**hold.quote, "count": delivered})
    try:
        reserve(team_id=team_id, quote=quote, reference=late)
    except (InsufficientCredits, WalletFrozen):
        owed = Uncollected.objects.create(hold_id=hold.pk, amount_centi=quote.total_centi, delivered=delivered)
        alarms.ring("uncollected", hold=hold.reference, amount_centi=owed.amount_centi)
        return Receipt(0, hold.amount_centi, True, uncollected_centi=owed.amount_centi)
    return settle(team_id=team_id, reference=late, delivered=delivered)
