"""The guards of pages and of the REST interface. They ask `roles`; the role comes from the database, every time."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import roles
from accounts.errors import NotAllowed
from accounts.models import ApiKey
from accounts.roles import Ability
from tenkaigen.htmx import HtmxRequest, View, signed_in

if TYPE_CHECKING:
    from rest_framework.views import APIView

# DRF answers these by itself or through `get`.
LIKE_GET = {"HEAD": "GET", "OPTIONS": "GET"}


def may(request: HttpRequest | Request, ability: Ability) -> bool:
    """Whether whoever asks may do this in `request.team`: by their role, and with a key by its scopes, too."""
    membership = getattr(request, "membership", None)
    if not membership or not roles.allows(membership.role, ability):
        return False
    key = key_of(request)
    return roles.scope_allows(key.scopes, ability) if key else True


def key_of(request: HttpRequest | Request) -> ApiKey | None:
    """The API key that a request came with; None for a signed-in browser."""
    key = getattr(request, "auth", None)
    return key if isinstance(key, ApiKey) else None


def require(request: HttpRequest | Request, ability: Ability) -> None:
    """Raises: NotAllowed."""
    if may(request, ability):
        return
    if key_of(request) and roles.allows(request.membership.role, ability):  # type: ignore[union-attr]
        raise NotAllowed(f"This API key may not {roles.WORDS[ability]}: it lacks the scope for it.")
    raise NotAllowed(f"Your role in this team does not let you {roles.WORDS[ability]}.")


def needs(ability: Ability) -> Callable[[View], View]:
    """Guard a page: strangers are sent to the sign-in, people whose role does not suffice are told so with 403."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HtmxRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            try:
                require(request, ability)
            except NotAllowed as error:
                raise PermissionDenied(str(error)) from None
            return view(request, *args, **kwargs)

        return signed_in(checked)

    return decorate


class MayAct(BasePermission):
    """Guard every REST view: it names the ability of each of its methods, `abilities = {"GET": Ability.READ}`.

    Where the row decides which of several is needed, it names them all: any of them passes here, and the view requires
    the one that it is.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not (request.user and request.user.is_authenticated and getattr(request, "team", None)):
            return False
        method = LIKE_GET.get(request.method or "", request.method or "")
        if hasattr(view, method.lower()):  # what is missing is answered 405
            abilities = getattr(view, "abilities", {})
            assert method in abilities, f"{type(view).__name__} names no ability for {method}"
            wanted = abilities[method]
            some = wanted if isinstance(wanted, tuple) else (wanted,)
            if not any(may(request, ability) for ability in some):
                require(request, some[0])
        return True
