"""What is read about credits."""

from dataclasses import dataclass

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce, Now

from accounts.models import Team
from credits.models import Grant, Wallet


@dataclass(frozen=True, slots=True)
class Balance:
    """What a team can spend now, and what its running jobs have set aside. Hundredths of a credit."""

    available_centi: int
    held_centi: int


def balance_of(team: Team) -> Balance:
    """The balance in one statement. Grants that have ended do not count, swept or not."""
    in_force = Q(grants__effective_at__lte=Now()) & (Q(grants__expires_at=None) | Q(grants__expires_at__gt=Now()))
    sums = (
        Wallet.objects.filter(team=team)
        .values("held_centi")
        .annotate(available=Coalesce(Sum("grants__available_centi", filter=in_force), 0))
        .values("held_centi", "available")
        .order_by("id")
        .first()
    )
    return Balance(sums["available"], sums["held_centi"]) if sums else Balance(0, 0)


def grants_of(team: Team) -> list[Grant]:
    """Grants with something left, in the order in which they end."""
    return list(Grant.objects.filter(wallet__team=team, available_centi__gt=0).order_by("expires_at", "id")[:50])
