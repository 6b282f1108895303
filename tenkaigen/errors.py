"""The one family of refusals: whatever a person may be told no for, wherever they asked."""

from collections.abc import Mapping
from types import MappingProxyType


class DomainError(Exception):
    """A refused request: the caller can read `str(error)` and act on `code`."""

    code = "refused"
    http_status = 409
    retry_after_seconds: int | None = None
    details: Mapping[str, str] = MappingProxyType({})  # what a program may want to know besides, by name


class Busy(DomainError):
    """A row lock did not come in time; nothing has moved, and asking again is right."""

    code = "busy"
    http_status = 503
    retry_after_seconds = 1
