"""Pages of no app: health, and what is shown when something is wrong."""

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import loader


def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. A load balancer may send people here."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """The process and what it cannot work without: the database. Redis only makes things slower, so it only shows."""
    parts = {"database": _database(), "redis": _redis()}
    return JsonResponse(parts, status=200 if parts["database"] == "ok" else 503)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was open too long, or came from elsewhere."""
    return render(
        request, "403.html", {"reason": "This form is too old. Go back, reload the page and try again."}, status=403
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """No such page, or one of another team: a stranger cannot tell the two apart."""
    return render(request, "404.html", status=404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "403.html", {"reason": str(exception)}, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Something broke. The page asks nothing of session or database: they may be what broke."""
    if request.path.startswith("/api/"):
        return JsonResponse({"code": "server_error", "message": "Something broke on our side."}, status=500)
    text = loader.render_to_string("500.html", {"site_name": settings.SITE_NAME})
    return HttpResponse(text, status=500)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "away"
    return "ok"


def _redis() -> str:
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1).ping()
    except redis.RedisError:
        return "away"
    return "ok"
