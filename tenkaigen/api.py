"""What the REST views of all apps share: who may ask, how often, how much, and how a refusal reads."""

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from tenkaigen.busy import WORDS, is_lock_timeout
from tenkaigen.errors import Busy, DomainError

if TYPE_CHECKING:
    from rest_framework.views import APIView

MINUTE_SECONDS = 60


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "too_large"

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"Send at most {bytes_max:,} bytes.")


class MinuteThrottle(BaseThrottle, ABC):
    """So many requests a clock minute from whoever `count_by` names; nobody: any. Without Redis nothing is counted."""

    @abstractmethod
    def count_by(self, request: Request, view: "APIView") -> str:
        """Whose requests these are."""

    @abstractmethod
    def most(self) -> int:
        """How many requests a minute."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        name = self.count_by(request, view)
        if not name:
            return True
        key = f"throttle:{name}:{int(time.time()) // MINUTE_SECONDS}"
        cache.add(key, 0, 2 * MINUTE_SECONDS)
        try:
            return cache.incr(key) <= self.most()
        except ValueError:  # the cache has just been emptied
            return True

    def wait(self) -> float:
        return MINUTE_SECONDS - time.time() % MINUTE_SECONDS


class TeamThrottle(MinuteThrottle):
    """`API_REQUESTS_PER_MINUTE` for each team."""

    def count_by(self, request: Request, view: "APIView") -> str:
        team = getattr(request, "team", None)
        return str(team.pk) if team else ""

    def most(self) -> int:
        return int(settings.API_REQUESTS_PER_MINUTE)


class SmallJSONParser(JSONParser):
    """JSON of at most `API_BODY_BYTES_MAX`. Django's own limit does not reach bodies that are read as a stream."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        request = (parser_context or {}).get("request")
        # WSGI servers end the stream after as many bytes as this header says, so it can be believed.
        if request is not None and int(request.META.get("CONTENT_LENGTH") or 0) > settings.API_BODY_BYTES_MAX:
            raise BodyTooLarge(settings.API_BODY_BYTES_MAX)
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply.") from None


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Print every refusal as `{"code", "message"}`, with the fields that were wrong where there are any."""
    if is_lock_timeout(error):
        error = Busy(WORDS)
    if isinstance(error, DomainError):
        refusal = {"code": error.code, "message": str(error), "fields": getattr(error, "fields", None), **error.details}
        response = Response({k: v for k, v in refusal.items() if v is not None}, status=error.http_status)
        if error.retry_after_seconds is not None:
            response["Retry-After"] = str(error.retry_after_seconds)
        return response
    # Only now: DRF's views read the settings that name this module while they are being imported.
    from rest_framework.views import exception_handler as drf_exception_handler

    response = drf_exception_handler(error, context)
    if response is not None:
        response.data = _refusal(response.status_code, response.data)
    return response


def _refusal(status: int, data: Any) -> dict[str, Any]:
    if status == 400 and isinstance(data, dict) and "detail" not in data:
        fields = {name: " ".join(map(str, messages)) for name, messages in data.items()}
        whole = fields.pop("non_field_errors", "")
        refusal = {"code": "invalid", "message": " ".join(filter(None, [whole, *fields.values()]))}
        return {**refusal, "fields": fields} if fields else refusal
    detail = data.get("detail") if isinstance(data, dict) else data
    return {"code": getattr(detail, "code", "invalid"), "message": str(detail)}
