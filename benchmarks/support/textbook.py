"""A ledger as a tutorial teaches it: lock the rows, loop over the grants, save each, create the rest.

On the product's own tables, and correct: what it leaves behind passes the audit.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from credits.models import Entry, Grant, Hold, HoldPart, Wallet
from credits.pricing import Quote


@transaction.atomic
def reserve(*, team_id: UUID, quote: Quote, reference: str) -> None:
    """Set the price aside."""
    wallet = Wallet.objects.select_for_update().get(team_id=team_id)
    hold, _ = Hold.objects.get_or_create(
        reference=reference,
        defaults={
            "wallet": wallet, "amount_centi": quote.total_centi, "quote": quote.as_dict(),
            "expires_at": timezone.now() + timedelta(hours=1),
        },
    )  # fmt: skip
    missing = quote.total_centi
    in_force = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    grants = wallet.grants.select_for_update().filter(in_force, unit="credit", available_centi__gt=0)
    for grant in grants.order_by("expires_at", "burn_rank", "id"):
        taken = min(missing, grant.available_centi)
        grant.available_centi -= taken
        grant.held_centi += taken
        grant.save()
        HoldPart.objects.create(hold=hold, grant=grant, amount_centi=taken)
        wallet.available_centi -= taken
        wallet.held_centi += taken
        _write(wallet, grant, hold, Entry.Kind.RESERVE, taken)
        missing -= taken
        if not missing:
            break
    assert not missing
    wallet.save()


@transaction.atomic
def settle(*, team_id: UUID, reference: str, delivered: int) -> None:
    """Charge all of it."""
    wallet = Wallet.objects.select_for_update().get(team_id=team_id)
    hold = Hold.objects.select_for_update().get(reference=reference, wallet=wallet)
    if hold.state != Hold.State.PENDING:
        return
    assert delivered == hold.quote["count"]
    for part in hold.parts.select_related("grant").order_by("id"):
        part.charged_centi = part.amount_centi
        part.save()
        part.grant.held_centi -= part.amount_centi
        part.grant.spent_centi += part.amount_centi
        part.grant.save()
        wallet.held_centi -= part.amount_centi
        _write(wallet, part.grant, hold, Entry.Kind.SETTLE, part.amount_centi)
    hold.state, hold.charged_centi, hold.settled_at = Hold.State.SETTLED, hold.amount_centi, timezone.now()
    hold.save()
    wallet.save()


def _write(wallet: Wallet, grant: Grant, hold: Hold, kind: str, amount_centi: int) -> None:
    wallet.seq += 1
    Entry.objects.create(
        wallet=wallet, seq=wallet.seq, grant=grant, hold=hold, kind=kind, amount_centi=amount_centi,
        available_after_centi=wallet.available_centi, held_after_centi=wallet.held_centi,
    )  # fmt: skip
