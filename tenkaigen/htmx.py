"""What the htmx answers of all apps share."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponse, HttpResponseBase
from django.shortcuts import render, resolve_url
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget
from django_htmx.middleware import HtmxDetails

from tenkaigen.errors import DomainError

if TYPE_CHECKING:
    from accounts.models import Membership, Team, User

View = Callable[..., HttpResponseBase]


class HtmxRequest(HttpRequest):
    """A request behind `HtmxMiddleware` and `TeamMiddleware`, of somebody signed in; only for type hints."""

    htmx: HtmxDetails
    team: "Team"
    membership: "Membership"
    memberships: list["Membership"]
    user: "User"


def signed_in(view: View) -> View:
    """Send strangers to the sign-in page, the whole page also when only a fragment was asked for."""

    @wraps(view)
    def guarded(request: HtmxRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.htmx:
            back = urlencode({"next": request.htmx.current_url_abs_path or resolve_url(settings.LOGIN_REDIRECT_URL)})
            return HttpResponseClientRedirect(f"{resolve_url(settings.LOGIN_URL)}?{back}")
        is_page = request.method in ("GET", "HEAD")
        return redirect_to_login(request.get_full_path() if is_page else resolve_url(settings.LOGIN_REDIRECT_URL))

    return guarded


def form_again(request: HttpRequest, template: str, context: dict[str, object], status: int = 422) -> HttpResponse:
    """Answer a refused form with itself: the fragment replaces the form that was sent."""
    response = render(request, template, context, status=status)
    return reswap(retarget(response, "this"), "outerHTML")


def page_status(error: DomainError) -> int:
    """The status a page answers a refusal with. Browsers swap in 4xx answers only: a 5xx may be a proxy's own page."""
    return error.http_status if error.http_status < 500 else 409


def say_when(response: HttpResponse, error: DomainError) -> HttpResponse:
    """Tell programs that speak to a page what the sentence on it tells people: when asking again is worth it."""
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response
