"""What the REST views of all apps share: who may ask, how a refusal reads, how lists page."""

from typing import Any

from django.http import HttpRequest
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.views import exception_handler as drf_exception_handler

from tenkaigen.errors import DomainError


class HasTeam(BasePermission):
    """Let signed-in people and API keys in, each with exactly one team."""

    def has_permission(self, request: HttpRequest, view: APIView) -> bool:
        return bool(request.user and request.user.is_authenticated and getattr(request, "team", None))


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Print every refusal as `{"code", "message"}`, with the fields that were wrong where there are any."""
    if isinstance(error, DomainError):
        response = Response({"code": error.code, "message": str(error)}, status=error.http_status)
        if error.retry_after_seconds is not None:
            response["Retry-After"] = str(error.retry_after_seconds)
        return response
    response = drf_exception_handler(error, context)
    if response is not None:
        response.data = _refusal(response.status_code, response.data)
    return response


def _refusal(status: int, data: Any) -> dict[str, Any]:
    if status == 400 and isinstance(data, dict):
        return {"code": "invalid", "message": "Some fields are not valid.", "fields": data}
    detail = data.get("detail") if isinstance(data, dict) else data
    return {"code": getattr(detail, "code", "invalid"), "message": str(detail)}
