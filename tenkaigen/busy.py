"""A lock that did not come within `lock_timeout` is no defect: the answer is 503 and "try again", never 500."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from psycopg import errors

from tenkaigen.errors import Busy

WORDS = "Somebody is changing the same thing right now. Try again in a moment."


def is_lock_timeout(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and isinstance(error.__cause__, errors.LockNotAvailable)


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Around a statement that locks rows. Raises: Busy, with these words, where the lock did not come in time."""
    assert connection.in_atomic_block, "a lock lasts as long as the caller's transaction"
    try:
        yield
    except OperationalError as error:
        if is_lock_timeout(error):
            raise Busy(words) from error
        raise


class BusyMiddleware:
    """For the locks that nobody waits for by name, as those of rows that a statement takes along."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not is_lock_timeout(exception):
            return None
        if request.path.startswith("/api/"):
            response: HttpResponse = JsonResponse({"code": Busy.code, "message": WORDS}, status=Busy.http_status)
        else:
            response = render(request, "503.html", {"reason": WORDS}, status=Busy.http_status)
        response.headers["Retry-After"] = str(Busy.retry_after_seconds)
        return response
