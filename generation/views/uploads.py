"""What an upload may carry: refused before it is read where that can be, and written to disk as it comes."""

from functools import wraps
from typing import Any

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from generation.training_limits import UPLOAD_BYTES_MAX, UPLOADS_MAX, ZIP_BYTES_MAX
from tenkaigen.htmx import HtmxRequest, View

# Everything in one request. Whoever sends a zip sends no more pictures than fit in the same.
REQUEST_BYTES_MAX = UPLOADS_MAX * UPLOAD_BYTES_MAX + 1_000_000
MEGABYTE = 1_000_000
PLAIN = "text/plain"


class CappedFiles(TemporaryFileUploadHandler):
    """Writes files to disk, none beyond its limit and not too many. What it leaves out is noted with the reason.

    It keeps the parser's `SkipFile` out of this: after that the parser would close the file before it, too.
    """

    def __init__(self, request: HtmxRequest) -> None:
        super().__init__(request)
        self.refused: list[tuple[str, str]] = []  # (name, why)
        self.files = 0
        self.bytes_max = 0
        self.is_left_out = False

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.files += 1
        self.bytes_max = ZIP_BYTES_MAX if is_zip(self.file_name or "") else UPLOAD_BYTES_MAX
        self.is_left_out = self.files > UPLOADS_MAX

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.is_left_out = self.is_left_out or start + len(raw_data) > self.bytes_max
        if not self.is_left_out:
            super().receive_data_chunk(raw_data, start)

    def file_complete(self, file_size: int) -> UploadedFile | None:
        if not self.is_left_out:
            return super().file_complete(file_size)
        self.file.close()
        too_many = f"Send at most {UPLOADS_MAX} files at a time."
        too_large = f"It is larger than {self.bytes_max // MEGABYTE} MB."
        self.refused.append((self.file_name or "", too_many if self.files > UPLOADS_MAX else too_large))
        return None


def takes_files(view: View) -> View:
    """Let a page read uploads: sizes are checked first, then the body is parsed to disk, then the CSRF token.

    `request.left_out` has (name, why) of the files that were too large or too many. Goes below `needs`, so that
    nothing is read for strangers.
    """
    checked = csrf_protect(view)

    @csrf_exempt  # the middleware would read the body before anybody could limit it
    @wraps(view)
    def guarded(request: HtmxRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if int(request.META.get("CONTENT_LENGTH") or 0) > REQUEST_BYTES_MAX:
            return _refuse(request, 413, f"Send at most {REQUEST_BYTES_MAX // MEGABYTE} MB at a time.")
        capped = CappedFiles(request)
        request.upload_handlers = [capped]
        try:
            _ = request.FILES
        except (RequestDataTooBig, SuspiciousOperation, BadRequest, UnreadablePostError):
            words = f"This upload could not be read. Send at most {UPLOADS_MAX} files at a time, and try again."
            return _refuse(request, 400, words)
        request.left_out = capped.refused  # type: ignore[attr-defined]
        return checked(request, *args, **kwargs)

    return guarded


def is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _refuse(request: HtmxRequest, status: int, words: str) -> HttpResponse:
    if request.headers.get("Accept") == PLAIN:
        return HttpResponse(words, status=status, content_type=PLAIN)
    return render(request, "generation/models/upload_refused.html", {"words": words}, status=status)
