"""`request.team`: the one place where a request learns which team it acts for. And the second step that staff need."""

from collections.abc import Callable
from functools import partial
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django_htmx.http import HttpResponseClientRefresh

from accounts import services
from accounts.models import Membership, Team
from accounts.queries import memberships_of
from accounts.session import chosen_team


class TeamMiddleware:
    """Set `request.memberships`, `.membership` and `.team`, read from the database once when first asked for.

    For strangers they are empty, None and None. A role or a place that has gone is gone with the next request.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        memberships: Any = SimpleLazyObject(partial(find_memberships, request))
        membership: Any = SimpleLazyObject(partial(find_membership, request, memberships))
        request.memberships = memberships  # type: ignore[attr-defined]
        request.membership = membership  # type: ignore[attr-defined]
        request.team = SimpleLazyObject(partial(find_team, membership))  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> HttpResponse | None:
        """A page that was opened in another team orders nothing in this one: it is loaded anew, and shows this one."""
        shown = request.headers.get("X-Team")
        team = request.team if shown else None  # type: ignore[attr-defined]
        return HttpResponseClientRefresh() if team and shown != str(team.pk) else None


class ClosedPersonMiddleware:
    """Show somebody who deleted their account, and signs in before it is gone, one page: to take that back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> HttpResponse | None:
        if not request.user.is_authenticated or request.user.closed_at is None:
            return None
        if request.path in (reverse("accounts:restore_account"), reverse("account_logout")):
            return None
        return redirect("accounts:restore_account")


class StaffMfaMiddleware:
    """Keep staff without two-step sign-in out of the admin and the figures: they are sent to switch it on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.prefixes = (f"/{settings.ADMIN_PATH}", "/metrics")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_staffs = settings.STAFF_MFA and request.path.startswith(self.prefixes) and request.user.is_staff
        if is_staffs and not is_mfa_enabled(request.user, [Authenticator.Type.TOTP]):
            messages.info(request, "Staff need two-step sign-in. Switch it on first.")
            return redirect("mfa_index")
        return self.get_response(request)


def find_memberships(request: HttpRequest) -> list[Membership]:
    if not request.user.is_authenticated:
        return []
    found = list(memberships_of(request.user))
    # Somebody made in the admin has no team until they first come here, nor has who left their last one.
    if not found and request.user.closed_at is None:
        services.open_team(request.user)
        found = list(memberships_of(request.user))
    return found


def find_membership(request: HttpRequest, memberships: list[Membership]) -> Membership | None:
    """The place in the chosen team; who chose none, or is no longer in it, acts for their first."""
    if not memberships:
        return None
    chosen = chosen_team(request)
    return next((one for one in memberships if str(one.team_id) == chosen), memberships[0])


def find_team(membership: Membership | None) -> Team | None:
    return membership.team if membership else None
