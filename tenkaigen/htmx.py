"""What the htmx answers of all apps share."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import reswap, retarget
from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request behind `HtmxMiddleware` and `TeamMiddleware`; only for type hints."""

    htmx: HtmxDetails
    team: object


def form_again(request: HttpRequest, template: str, context: dict[str, object], status: int = 422) -> HttpResponse:
    """Answer a refused form with itself: the fragment replaces the form that was sent."""
    response = render(request, template, context, status=status)
    return reswap(retarget(response, "this"), "outerHTML")
