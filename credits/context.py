"""The balance in the header of every page."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from credits import services
from credits.queries import balance_of


def balance(request: HttpRequest) -> dict[str, object]:
    """`balance` (None for strangers) and `welcome_bonus_centi`, read only when a template shows them."""
    return {"balance": SimpleLazyObject(lambda: _balance(request)), "welcome_bonus_centi": services.welcome_centi}


def _balance(request: HttpRequest) -> object:
    team = getattr(request, "team", None)
    return balance_of(team) if team else None
