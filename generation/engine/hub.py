"""The model hub over HTTPS: what a repository holds at one commit, and its files, resumable. Only `fetching` asks it.

The standard library does it all: redirects, ranges and the token's destination have to be in our own hands, and the
switch that keeps the hub's own library off the network (`HF_HUB_OFFLINE`) stays on for everybody else.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from generation.engine import EngineError

ENDPOINT = "https://huggingface.co"
NEWEST = "main"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 5
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
FAILURES_MAX = 6  # in a row, none of which brought a byte
ATTEMPTS_MAX = 1000  # a line that is cut every 50 MB still brings 50 GB
BACKOFF_SECONDS = 1.0
BACKOFF_SECONDS_MAX = 60.0
SILENCE_SECONDS_MAX = 60.0
CHUNK_BYTES = 2**20
LISTING_BYTES_MAX = 32 * 2**20
# A full or read-only disk does not get better by asking again.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR})

T = TypeVar("T")


class FetchError(EngineError):
    """A model could not be fetched; `str(error)` says why and what to do. Nothing was locked or overwritten."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a commit. The hub knows the SHA-256 of large files; of small ones, kept in git, it knows git's id."""

    path: str
    size: int
    sha256: str = ""
    git_id: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    repository: str
    revision: str  # 40 hex digits
    files: dict[str, RemoteFile]


class _NoRedirects(HTTPRedirectHandler):
    """Leaves them to `Hub._open`: as errors, like every other answer that is not the file."""

    def http_error_302(self, *args: Any, **named: Any) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


@dataclass(frozen=True)
class Hub:
    """One hub. `sleep` waits between attempts."""

    endpoint: str = ENDPOINT
    token: str = field(default="", repr=False)
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def from_environment(cls) -> Hub:
        """`HF_ENDPOINT` and `HF_TOKEN`, the names that the hub's own tools use."""
        endpoint = os.environ.get("HF_ENDPOINT", "").strip() or ENDPOINT
        return cls(endpoint.rstrip("/"), os.environ.get("HF_TOKEN", "").strip())

    def snapshot(self, repository: str, revision: str = NEWEST) -> Snapshot:
        """What `repository` holds at `revision`: one question, so the files belong to the commit that is answered.

        Raises:
            FetchError: no such repository or revision, no access, or an answer that makes no sense.
        """
        where = f"{self.endpoint}/api/models/{quote(repository)}/revision/{quote(revision, safe='')}?blobs=true"
        body = self._persist(repository, lambda: self._read(where), lambda: 0)
        try:
            answer = json.loads(body)
            files = [_remote_file(entry) for entry in answer["siblings"]]
            resolved = answer["sha"]
            if not re.fullmatch("[0-9a-f]{40}", resolved) or revision not in (NEWEST, resolved):
                raise ValueError(f"revision {resolved!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError(f"The hub's list of {repository} makes no sense: {error!r}") from error
        return Snapshot(repository, resolved, {file.path: file for file in files})

    def download(
        self, snapshot: Snapshot, file: RemoteFile, part: Path, on_bytes: Callable[[int], None] = lambda count: None
    ) -> None:
        """Bring `part` to the file's size, beginning where it ends. Its contents are not judged here.

        Args:
            on_bytes: told how many bytes more there are; fewer, when the server begins anew.

        Raises:
            FetchError: it cannot be had. What has arrived stays in `part`.
        """
        where = f"{self.endpoint}/{quote(snapshot.repository)}/resolve/{snapshot.revision}/{quote(file.path)}"
        part.parent.mkdir(parents=True, exist_ok=True)
        self._persist(file.path, lambda: self._continue(where, file, part, on_bytes), lambda: _size(part))

    def _continue(self, where: str, file: RemoteFile, part: Path, on_bytes: Callable[[int], None]) -> None:
        had = _size(part)
        if had == file.size and part.exists():
            return
        if had > file.size:
            part.unlink()
            on_bytes(-had)
            had = 0
        with self._open(where, {"Range": f"bytes={had}-"} if had else {}) as response:
            have = _begins_at(response, had, file)
            on_bytes(have - had)
            with open(part, "r+b" if have else "wb") as out:
                out.seek(have)
                while chunk := response.read(CHUNK_BYTES):
                    have += len(chunk)
                    if have > file.size:
                        raise FetchError(f"{file.path} is larger than the {file.size} bytes the hub announced.")
                    out.write(chunk)
                    on_bytes(len(chunk))
        if have < file.size:
            raise ConnectionError(f"cut after {have} of {file.size} bytes")

    def _read(self, where: str) -> bytes:
        with self._open(where, {}) as response:
            body: bytes = response.read(LISTING_BYTES_MAX + 1)
        if len(body) > LISTING_BYTES_MAX:
            raise FetchError("The hub's list is too long to be true.")
        return body

    def _open(self, where: str, headers: dict[str, str]) -> Any:
        """Follow redirects by hand: each hop must be allowed, and the token goes to the hub itself, nowhere else."""
        for _ in range(REDIRECTS_MAX + 1):
            where = self._checked(where)
            authorization = {"Authorization": f"Bearer {self.token}"} if self.token and self._is_own(where) else {}
            request = Request(  # noqa: S310 - `_checked` lets nothing but https through, http only on loopback
                where, headers={"User-Agent": "tenkaigen", "Accept-Encoding": "identity", **headers, **authorization}
            )
            try:
                return self._opener().open(request, timeout=SILENCE_SECONDS_MAX)
            except HTTPError as error:
                target = error.headers.get("Location", "")
                error.close()
                if error.code not in REDIRECTS or not target:
                    raise
                where = self._checked(target, where)
        raise FetchError(f"The hub redirects more than {REDIRECTS_MAX} times.")

    def _opener(self) -> OpenerDirector:
        handlers: list[Any] = [_NoRedirects]
        if _is_loopback(self.endpoint):
            handlers.append(ProxyHandler({}))
        return build_opener(*handlers)

    def _checked(self, where: str, seen_from: str = "") -> str:
        """The whole address. Raises: FetchError, unless it is https, or http between this machine and itself."""
        try:
            where = urljoin(seen_from, where)
            scheme, host, _ = _origin(where)
        except ValueError as error:
            raise FetchError(f"The hub gives an address that is none: {error}") from error
        is_local = scheme == "http" and _is_loopback(where) and _is_loopback(self.endpoint)
        if not host or (scheme != "https" and not is_local):
            raise FetchError(f"Refused to go to {scheme}://{host}: models come over https only.")
        return where

    def _is_own(self, where: str) -> bool:
        return _origin(where) == _origin(self.endpoint)

    def _persist(self, what: str, attempt: Callable[[], T], measure: Callable[[], int]) -> T:
        """Try until it works, until it is certain not to, or until `FAILURES_MAX` in a row brought nothing."""
        failures, before = 0, measure()
        for _ in range(ATTEMPTS_MAX):
            try:
                return attempt()
            except (OSError, HTTPException) as error:
                if reason := _reason_to_stop(error):
                    raise FetchError(f"{what}: {reason}") from error
                now = measure()
                failures = 1 if now > before else failures + 1
                before = now
                if failures >= FAILURES_MAX:
                    raise FetchError(f"{what}: {error}. What has arrived is kept: run it again later.") from error
                self.sleep(_seconds_to_wait(error, failures))
        raise FetchError(f"{what}: cut {ATTEMPTS_MAX} times. What has arrived is kept: run it again later.")


def _remote_file(entry: Any) -> RemoteFile:
    large = entry.get("lfs") or {}
    sha256, git_id = large.get("sha256", ""), "" if large else entry.get("blobId") or ""
    if not re.fullmatch("([0-9a-f]{64})?", sha256) or not re.fullmatch("([0-9a-f]{40})?", git_id):
        raise ValueError(f"hash of {entry['rfilename']!r}")
    size = int(large["size"] if large else entry["size"])
    if size < 0:
        raise ValueError(f"size of {entry['rfilename']!r}")
    return RemoteFile(str(entry["rfilename"]), size, sha256, git_id)


def _begins_at(response: Any, wanted: int, file: RemoteFile) -> int:
    """The offset of the first byte of the answer: what was asked for, or 0 from a server that knows no ranges."""
    if response.status != 206:
        return 0
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != wanted or found[2] not in ("*", str(file.size)):
        raise FetchError(f"{file.path}: the server answers another part than was asked for.")
    return wanted


def _reason_to_stop(error: Exception) -> str:
    """Why asking again is useless; empty when it may help."""
    if isinstance(error, HTTPError):
        if error.code in (401, 403):
            return (
                f"the hub refuses access ({error.code}). It may ask for consent to a licence: give it on the model's "
                "page, then set HF_TOKEN to a token of that account."
            )
        if error.code == 404:
            return "the hub has no such repository, revision or file (404)."
        return "" if error.code in PASSING else f"the hub answers {error.code}."
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the hub's certificate is not valid: {cause.verify_message}"
    if isinstance(cause, OSError) and cause.errno in DISK_ERRORS:
        return f"cannot write: {cause.strerror}."
    return ""


def _seconds_to_wait(error: Exception, failures: int) -> float:
    asked = error.headers.get("Retry-After", "") if isinstance(error, HTTPError) else ""
    seconds = float(asked) if asked.isdigit() else BACKOFF_SECONDS * 2 ** (failures - 1)
    return min(seconds, BACKOFF_SECONDS_MAX)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _origin(where: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(where)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _is_loopback(where: str) -> bool:
    host = urlsplit(where).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
