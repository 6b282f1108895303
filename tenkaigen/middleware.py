"""Headers that every private answer carries, and what the log keeps of a request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django_structlog.middlewares import RequestMiddleware

# Parts of addresses that open a door by themselves: signed files, invitations, confirmed addresses, new passwords.
SECRET_PARTS = ("token", "secret", "key")


class RequestLogMiddleware(RequestMiddleware):
    """Write every request down without what whoever reads the log could use, and without the query."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        path = request.path
        try:
            parts = resolve(request.path_info).kwargs
        except Resolver404:
            parts = {}
        for name in SECRET_PARTS:
            if name in parts:
                path = path.replace(str(parts[name]), f"<{name}>")
        return f"{request.method} {path}"


class PrivatePagesMiddleware:
    """Keep signed-in pages out of shared and disk caches, unless the view has said something itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        return response
