"""`request.team`: the one place where a request learns which team it acts for."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from accounts import services
from accounts.models import Team
from accounts.queries import team_of


class TeamMiddleware:
    """Set `request.team`, read from the database when first asked for; None for strangers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.team = SimpleLazyObject(lambda: find_team(request))  # type: ignore[attr-defined]
        return self.get_response(request)


def find_team(request: HttpRequest) -> Team | None:
    if not request.user.is_authenticated:
        return None
    # Somebody made in the admin has no team until they first come here.
    return team_of(request.user) or services.open_team(request.user)
