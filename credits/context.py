"""The balance in the header of every page."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from credits.queries import balance_of


def balance(request: HttpRequest) -> dict[str, object]:
    """`balance`, read only when a template shows it; None for strangers."""
    return {"balance": SimpleLazyObject(lambda: _balance(request))}


def _balance(request: HttpRequest) -> object:
    team = getattr(request, "team", None)
    return balance_of(team) if team else None
