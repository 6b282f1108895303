"""Every change to a wallet. No other module writes `Wallet`, `Grant`, `Hold` or `Entry`.

Call these inside the transaction that makes the thing being paid for, so that both commit or neither does. Lock
order: job, wallet, hold, grants by id. The wallet is the hottest row: locked as late as the caller can. The clock is
the database's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Now

from credits.amounts import AMOUNT_CENTI_MAX, show
from credits.errors import AlreadySettled, InsufficientCredits, ReferenceTaken, WalletFrozen
from credits.locks import lock_wallet
from credits.models import Entry, Grant, Hold, HoldPart, Wallet
from credits.pricing import Quote

# Among grants that end together: a pass, then what comes back by itself, then gifts, then what was paid for.
BURN_RANK = {
    Grant.Source.PASS: 10,
    Grant.Source.PLAN: 20,
    Grant.Source.BONUS: 30,
    Grant.Source.ADJUSTMENT: 35,
    Grant.Source.PURCHASE: 40,
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a settled hold came to."""

    charged_centi: int
    released_centi: int
    is_new: bool  # False: it had been settled before, and these are the first figures


def grant(
    *,
    team_id: UUID,
    amount_centi: int,
    source: str,
    source_ref: str,
    expires_at: datetime | None = None,
    actor: str = "system",
    reason: str = "",
) -> Grant:
    """Give credits to a team. The same `source` and `source_ref` again gives nothing and returns the first grant.

    Raises:
        ReferenceTaken: the reference was used for another team or amount.
        Busy: the wallet's lock did not come in time.
    """
    assert 0 < amount_centi <= AMOUNT_CENTI_MAX
    wallet = lock_wallet(team_id)
    made, is_new = Grant.objects.get_or_create(
        source=source,
        source_ref=source_ref,
        defaults={
            "wallet": wallet,
            "burn_rank": BURN_RANK[Grant.Source(source)],
            "expires_at": expires_at,
            "granted_centi": amount_centi,
            "available_centi": amount_centi,
        },
    )
    if not is_new:
        if (made.wallet_id, made.granted_centi) != (wallet.pk, amount_centi):
            raise ReferenceTaken(f"The reference {source}:{source_ref} stands for another grant.")
        return made
    _post(wallet, [Entry(kind=Entry.Kind.GRANT, grant=made, amount_centi=amount_centi, actor=actor, reason=reason)])
    return made


def reserve(*, team_id: UUID, quote: Quote, reference: str) -> Hold:
    """Set the quote's credits aside. The same reference again reserves nothing and returns the first hold.

    Raises:
        InsufficientCredits: the wallet cannot cover the quote.
        WalletFrozen: the team is in debt or frozen.
        AlreadySettled: the hold of this reference has ended.
        ReferenceTaken: the reference holds another amount.
        Busy: the wallet's lock did not come in time.
    """
    wallet = lock_wallet(team_id)
    if hold := Hold.objects.filter(reference=reference).first():
        return _same_hold(hold, wallet, quote)
    if wallet.frozen_reason or wallet.debt_centi:
        raise WalletFrozen(f"Spending is paused: {wallet.frozen_reason or 'there is an open debt'}. Contact support.")
    takes = _burn(_spendable(wallet), quote.total_centi)
    hold = Hold.objects.create(
        wallet=wallet,
        reference=reference,
        amount_centi=quote.total_centi,
        quote=quote.as_dict(),
        expires_at=Now() + timedelta(seconds=settings.HOLD_SECONDS),
    )
    for source, amount in sorted(takes, key=lambda take: take[0].pk):
        _move(source, available_centi=-amount, held_centi=amount)
    HoldPart.objects.bulk_create(HoldPart(hold=hold, grant=source, amount_centi=amount) for source, amount in takes)
    _post(
        wallet,
        [Entry(kind=Entry.Kind.RESERVE, grant=source, hold=hold, amount_centi=amount) for source, amount in takes],
    )
    return hold


def settle(*, team_id: UUID, reference: str, delivered: int) -> Receipt:
    """End a hold: charge for `delivered` of the quoted images, release the rest to the grants it came from.

    Once only: a second call changes nothing and returns the first figures.

    Raises:
        Hold.DoesNotExist: nothing was reserved under this reference.
        Busy: the wallet's lock did not come in time.
    """
    wallet = lock_wallet(team_id)
    hold = Hold.objects.select_for_update(no_key=True).get(reference=reference, wallet=wallet)
    if hold.state == Hold.State.SETTLED:
        return Receipt(hold.charged_centi, hold.released_centi, is_new=False)
    assert 0 <= delivered <= hold.quote["count"]
    charge = hold.quote["unit_centi"] * delivered
    # The compare-and-set comes before any money moves.
    ended = Hold.objects.filter(pk=hold.pk, state=Hold.State.PENDING).update(
        state=Hold.State.SETTLED,
        charged_centi=charge,
        released_centi=hold.amount_centi - charge,
        settled_at=Now(),
    )
    assert ended == 1
    _post(wallet, _end_parts(hold, charge))
    return Receipt(charge, hold.amount_centi - charge, is_new=True)


def _same_hold(hold: Hold, wallet: Wallet, quote: Quote) -> Hold:
    if (hold.wallet_id, hold.amount_centi) != (wallet.pk, quote.total_centi):
        raise ReferenceTaken("This reference holds another amount.")
    if hold.state == Hold.State.SETTLED:
        raise AlreadySettled("This job has been settled.")
    return hold


def _spendable(wallet: Wallet) -> list[Grant]:
    """The wallet's grants that count right now, in burn order. An ended grant does not, swept or not."""
    in_force = Q(effective_at__lte=Now()) & (Q(expires_at=None) | Q(expires_at__gt=Now()))
    grants = Grant.objects.filter(in_force, wallet=wallet, available_centi__gt=0)
    is_pass = Q(source=Grant.Source.PASS)
    return list(
        grants.annotate(comes_after_pass=~is_pass).order_by(
            "comes_after_pass", F("expires_at").asc(nulls_last=True), "burn_rank", "id"
        )
    )


def _burn(grants: Iterable[Grant], amount_centi: int) -> list[tuple[Grant, int]]:
    takes, missing, total = [], amount_centi, 0
    for source in grants:
        total += source.available_centi
        take = min(missing, source.available_centi)
        if take:
            takes.append((source, take))
            missing -= take
    if missing:
        raise InsufficientCredits(f"This costs {show(amount_centi)} credits; you have {show(total)}.")
    return takes


def _end_parts(hold: Hold, charge: int) -> list[Entry]:
    """Charge a hold's parts in burn order and give the rest back; what is released lives the longest."""
    entries: list[Entry] = []
    ended = Q(grant__expires_at__isnull=False) & Q(grant__expires_at__lte=Now())
    parts = list(hold.parts.select_related("grant").annotate(grant_has_ended=ended).order_by("pk"))
    for part in parts:
        part.charged_centi = min(charge, part.amount_centi)
        part.released_centi = part.amount_centi - part.charged_centi
        charge -= part.charged_centi
    for part in sorted(parts, key=attrgetter("grant_id")):
        back = "expired_centi" if part.grant_has_ended else "available_centi"  # expired credits never revive
        moves = {"held_centi": -part.amount_centi, "spent_centi": part.charged_centi, back: part.released_centi}
        _move(part.grant, **moves)
    HoldPart.objects.bulk_update(parts, ["charged_centi", "released_centi"])
    for part in parts:
        kind = Entry.Kind.LAPSE if part.grant_has_ended else Entry.Kind.RELEASE
        for what, amount in ((Entry.Kind.SETTLE, part.charged_centi), (kind, part.released_centi)):
            if amount:
                entries.append(Entry(kind=what, grant=part.grant, hold=hold, amount_centi=amount))
    return entries


def _move(source: Grant, **deltas: int) -> None:
    Grant.objects.filter(pk=source.pk).update(**{name: F(name) + delta for name, delta in deltas.items()})


# What each kind of entry does to the wallet: (available, held) per credit moved.
WALLET_EFFECT: dict[str, tuple[int, int]] = {
    Entry.Kind.GRANT: (1, 0),
    Entry.Kind.RESERVE: (-1, 1),
    Entry.Kind.SETTLE: (0, -1),
    Entry.Kind.RELEASE: (1, -1),
    Entry.Kind.LAPSE: (0, -1),
    Entry.Kind.EXPIRE: (-1, 0),
    Entry.Kind.REVOKE: (-1, 0),
    Entry.Kind.REINSTATE: (1, 0),
}


def _post(wallet: Wallet, entries: list[Entry]) -> None:
    """Number the entries, work out the balance after each, and write both."""
    for entry in entries:
        available, held = WALLET_EFFECT[entry.kind]
        wallet.seq += 1
        wallet.available_centi += available * entry.amount_centi
        wallet.held_centi += held * entry.amount_centi
        entry.wallet, entry.seq = wallet, wallet.seq
        entry.available_after_centi, entry.held_after_centi = wallet.available_centi, wallet.held_centi
        entry.actor = entry.actor or "system"
    Entry.objects.bulk_create(entries)
    columns: dict[str, Any] = {
        "seq": wallet.seq,
        "available_centi": wallet.available_centi,
        "held_centi": wallet.held_centi,
    }
    Wallet.objects.filter(pk=wallet.pk).update(**columns)
