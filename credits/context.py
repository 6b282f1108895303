"""The balance in the header of every page, and the notices below it."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from credits import services
from credits.queries import Balance, Header, header_of


def balance(request: HttpRequest) -> dict[str, object]:
    """`balance` and `notices`, read together when a template shows either, and `welcome_bonus_centi`.

    A stranger has a balance of nothing and no notices.
    """
    header = SimpleLazyObject(lambda: _header(request))
    return {
        "balance": SimpleLazyObject(lambda: header.balance),
        "notices": SimpleLazyObject(lambda: header.notices),
        "welcome_bonus_centi": services.welcome_centi,
    }


def _header(request: HttpRequest) -> Header:
    team = getattr(request, "team", None)
    return header_of(team) if team else Header(Balance(), [])
