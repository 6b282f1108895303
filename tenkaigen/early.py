"""Answers that need no person: what somebody may ask for every second passes by sessions, teams and the log."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from tenkaigen.htmx import View

Early = Callable[..., HttpResponse | None]


def answers_early(early: Early) -> Callable[[View], View]:
    """Let `early(request, **kwargs)` answer a GET with a ticket before the view is asked; None: the view is asked.

    It gets a bare request, without person, team and `htmx`, and says itself to whom it answers.
    """

    def mark(view: View) -> View:
        view.early = early  # type: ignore[attr-defined]
        return view

    return mark


class EarlyAnswerMiddleware:
    """Stands before everything that reads sessions or writes the log, behind what sets headers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return early_answer(request) or self.get_response(request)


def early_answer(request: HttpRequest) -> HttpResponse | None:
    if request.method != "GET" or "token=" not in request.META.get("QUERY_STRING", ""):
        return None
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return None  # answered, and logged, where every unknown address is
    early: Early | None = getattr(match.func, "early", None)
    response = early(request, **match.kwargs) if early else None
    if response is not None:
        response.headers["Content-Length"] = str(len(response.content))  # CommonMiddleware comes later
    return response
