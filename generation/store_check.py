"""Does the store of this deployment hold what it promises? Writes, reads and deletes one small file of its own."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

from botocore.exceptions import ClientError
from django.conf import settings
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from generation import storage

FOLDER = f"{settings.STORAGE_PREFIX}/check"  # of its own, so that listing it is quick
CONTENT_BYTES = 4096
ANSWER_SECONDS = 10
CLOCK_SECONDS_MAX = 300  # a signature of a clock that is further off is refused
REFUSED = (401, 403)
# What Cloudflare R2 says, with 400, to a request without a signature, before it looks for the file.
UNSIGNED_AT_R2 = b"<Code>InvalidArgument</Code><Message>Authorization</Message>"
REASON_BYTES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was tried. `is_good` is None for what is only told."""

    name: str
    is_good: bool | None
    words: str


class Bad(Exception):
    """What was tried, and should not have come out like this."""


def facts() -> Iterator[Fact]:
    """Try one thing after the other; the file is deleted whatever happens."""
    store: Any = default_storage
    key = f"{FOLDER}/{secrets.token_hex(8)}.png"
    content = secrets.token_bytes(CONTENT_BYTES)
    named = _try("store", lambda: _name_of(store))
    yield Fact("store", None, named.words) if named.is_good else named
    written = _try("write", lambda: _write(store, key, content))
    yield written
    if not written.is_good:
        return
    try:
        yield _try("read", lambda: _same(storage.read(key), content))
        yield _try("list", lambda: _listed(key))
        for name, act in _doors(store, key, content):
            yield _try(name, act)
    finally:
        deleted = _try("delete", lambda: _delete(store, key))
    yield deleted


def _try(name: str, act: Callable[[], str]) -> Fact:
    try:
        return Fact(name, True, act())
    except Exception as error:  # every store has its own family of errors, and each of them is an answer
        return Fact(name, False, f"{type(error).__name__}: {error}" if not isinstance(error, Bad) else str(error))


def _name_of(store: Any) -> str:
    if isinstance(store, storage.SignedFileSystemStorage):
        return f"files in {store.location}"
    return f"bucket {store.bucket_name} at {store.endpoint_url}, {_kept_by(store)}"


def _kept_by(store: Any) -> str:
    try:
        return "keeps old versions" if store.is_versioned() else "keeps no old versions"
    except ClientError as error:
        return f"does not say whether it keeps old versions: {error.response['Error']['Code']}"


def _write(store: Any, key: str, content: bytes) -> str:
    began = time.monotonic()
    store.save(key, ContentFile(content))
    return f"{key} in {(time.monotonic() - began) * 1000:.0f} ms"


def _same(found: bytes, content: bytes) -> str:
    if found != content:
        raise Bad(f"{len(found)} bytes came back, and they differ from the {len(content)} written")
    return f"the same {len(found)} bytes"


def _listed(key: str) -> str:
    for stored in storage.listing(FOLDER):
        if stored.key == key:
            off = abs((stored.modified_at - datetime.now(UTC)).total_seconds())
            if off > CLOCK_SECONDS_MAX:
                raise Bad(f"the store's clock is {off:.0f} s off ours")
            return f"found, clocks {off:.0f} s apart"
    raise Bad("a file that was just written is not listed")


def _doors(store: Any, key: str, content: bytes) -> list[tuple[str, Callable[[], str]]]:
    """The ways to a file from outside: one must be open, all others shut."""
    link = store.url(key)
    if isinstance(store, storage.SignedFileSystemStorage):
        token = link.rstrip("/").rsplit("/", 1)[1]
        return [
            ("signed link", lambda: _leads(store, token, key)),
            ("unsigned read", lambda: _forged(store, token)),
            ("other users of this machine", lambda: _is_private(store, key)),
        ]
    bucket = f"{store.endpoint_url}/{store.bucket_name}"
    doors: list[tuple[str, Callable[[], str]]] = [
        ("signed link", lambda: _signed(link, content)),
        ("unsigned read", lambda: _refused(f"{bucket}/{key}")),
        ("unsigned listing", lambda: _refused(bucket)),
    ]
    if store.cdn_domain:
        doors.append(("unsigned read through the CDN", lambda: _refused(link.split("?")[0])))
    return doors


def _signed(link: str, content: bytes) -> str:
    query = parse_qs(urlsplit(link).query)
    if query.get("X-Amz-Algorithm") != ["AWS4-HMAC-SHA256"]:
        raise Bad("the link is not signed with version 4")
    seconds = int(query["X-Amz-Expires"][0])
    if seconds > settings.SIGNED_URL_SECONDS:
        raise Bad(f"the link lives {seconds} s")
    try:
        with urlopen(link, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 (the endpoint of our own settings)
            _same(answer.read(CONTENT_BYTES + 1), content)
    except HTTPError as error:
        raise Bad(f"{urlsplit(link).netloc} answers {error.code} to a signed link") from None
    return f"{urlsplit(link).netloc} gives the file, for {seconds} s"


def _refused(address: str) -> str:
    try:
        with urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 (as above)
            raise Bad(f"ANYBODY MAY: {urlsplit(address).netloc} answers {answer.status}. Make the bucket private.")
    except HTTPError as error:
        if error.code not in REFUSED and not _is_unsigned_at_r2(error):
            raise Bad(f"{urlsplit(address).netloc} answers {error.code}, not 401 or 403") from None
        return f"refused with {error.code}"


def _is_unsigned_at_r2(error: HTTPError) -> bool:
    return error.code == HTTPStatus.BAD_REQUEST and UNSIGNED_AT_R2 in error.read(REASON_BYTES_MAX)


def _leads(store: Any, token: str, key: str) -> str:
    if store.read_link(token)[0] != key:
        raise Bad("the link leads to another file")
    return f"leads to the file, for {settings.SIGNED_URL_SECONDS} s"


def _forged(store: Any, token: str) -> str:
    try:
        store.read_link(f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}")
    except signing.BadSignature:
        return "refused: a link with one letter changed opens nothing"
    raise Bad("a forged link opens the file")


def _is_private(store: Any, key: str) -> str:
    mode = Path(store.path(key)).stat().st_mode & 0o777
    if mode & 0o077:
        raise Bad(f"may read it: mode {mode:o}")
    return f"may not read it: mode {mode:o}"


def _delete(store: Any, key: str) -> str:
    store.delete(key)
    if store.exists(key):
        raise Bad(f"{key} is still there")
    return "gone"
