"""Counts visits: strangers who open the landing page from elsewhere. No cookie is set, so it is views, not people.

And the answers of the REST interface, by the first digit of their status.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse

from generation import counts

LANDING = "generation:landing"
API = "/api/"
MACHINES = re.compile(r"bot|crawl|spider|slurp|preview|monitor|probe|curl|wget|python|http", re.IGNORECASE)


class VisitMiddleware:
    """Count each visit once, after its page was made."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if is_visit(request, response):
            counts.add_soon(counts.VISIT)
        return response


class ApiCountMiddleware:
    """Count every answer of the REST interface, those of code that broke included."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.path_info.startswith(API):
            counts.add_if_cheap(f"{counts.ANSWER}{response.status_code // 100}xx")
        return response


def is_visit(request: HttpRequest, response: HttpResponse) -> bool:
    match = request.resolver_match
    return (
        match is not None
        and match.view_name == LANDING
        and request.method == "GET"
        and response.status_code == 200
        and not _comes_from_here(request)
        and not _is_machine(request)
        and not request.user.is_authenticated
    )


def _comes_from_here(request: HttpRequest) -> bool:
    # Our own pages send their address along to our own pages only (SECURE_REFERRER_POLICY).
    return urlsplit(request.headers.get("Referer", "")).netloc == request.get_host()


def _is_machine(request: HttpRequest) -> bool:
    agent = request.headers.get("User-Agent", "")
    is_fetched_ahead = "prefetch" in request.headers.get("Sec-Purpose", "")
    return is_fetched_ahead or not agent or MACHINES.search(agent) is not None
