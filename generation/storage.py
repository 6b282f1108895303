"""Where pictures lie: their keys, and the way to and from the store. The only module that touches image files."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from django.conf import settings
from django.core import signing
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, default_storage
from django.urls import reverse

from generation.models import Image, Job, ModelVersion

logger = structlog.get_logger(__name__)
URL_SALT = "generation.file"
VARIANTS = {"original": "key", "preview": "preview_key", "thumbnail": "thumbnail_key"}


class StorageFailed(Exception):
    """The store did not take a file, in as many tries as it is given."""


class Stored(NamedTuple):
    """A file as the store lists it."""

    key: str
    modified_at: datetime


class Upload(NamedTuple):
    """An upload in parts that was begun and not ended."""

    key: str
    id: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Keys:
    """The three files of one picture."""

    original: str
    preview: str
    thumbnail: str

    def __iter__(self) -> Any:
        return iter((self.original, self.preview, self.thumbnail))


def keys_of(job: Job, index: int) -> Keys:
    """Keys that nobody else can produce: from its second fence on, a claim writes under its own number."""
    fence = "" if job.fence == 1 else f".{job.fence}"
    further = f"-{index}" if index else ""
    base = f"{settings.STORAGE_PREFIX}/{job.user_id}/{job.id}{fence}{further}"
    return Keys(f"{base}.png", f"{base}.preview.webp", f"{base}.thumbnail.webp")


def version_key(version: ModelVersion, fence: int, name: str) -> str:
    """Where a training keeps a file: under the number of its claim, as `keys_of`. `version.model` is read."""
    model = version.model
    return f"{settings.MODELS_PREFIX}/{model.team_id}/{model.pk}/{version.pk}.{fence}/{name}"


def put(key: str, content: bytes) -> None:
    """Store one file, trying again with a back-off.

    Raises:
        StorageFailed: after `STORE_TRIES_MAX` tries.
    """
    for attempt in range(1, settings.STORE_TRIES_MAX + 1):
        try:
            default_storage.save(key, ContentFile(content))
        except Exception as error:  # every back end has its own family of errors
            logger.warning("store_failed", key=key, attempt=attempt, error=type(error).__name__)
            if attempt == settings.STORE_TRIES_MAX:
                raise StorageFailed(type(error).__name__) from error
            time.sleep(settings.STORE_RETRY_SECONDS * 2 ** (attempt - 1))
        else:
            return


def delete(keys: Iterable[str]) -> None:
    """Delete files; those that will not go are left for `sweep_storage`."""
    for key in keys:
        try:
            default_storage.delete(key)
        except Exception as error:  # as in `put`
            logger.warning("delete_failed", key=key, error=type(error).__name__)


def files_of(image: Image) -> Keys:
    return Keys(image.key, image.preview_key, image.thumbnail_key)


def short_lived_url(image: Image, variant: str, download_as: str = "") -> str:
    """A link to one file of an image that works for `SIGNED_URL_SECONDS`; with a name, one that saves it as that.

    Raises KeyError: no such variant.
    """
    parameters = {"ResponseContentDisposition": f'attachment; filename="{download_as}"'} if download_as else None
    # Django's own type does not know the parameters; both of our back ends do.
    return default_storage.url(getattr(image, VARIANTS[variant]), parameters=parameters)  # type: ignore[call-arg]


def link(key: str) -> str:
    """A link to any file of ours that works for `SIGNED_URL_SECONDS`."""
    return default_storage.url(key)


def read(key: str) -> bytes:
    with default_storage.open(key) as file:
        return bytes(file.read())


def fetch(key: str) -> bytes:
    """A file, trying again with a back-off.

    Raises:
        FileNotFoundError: there is none.
        StorageFailed: after `STORE_TRIES_MAX` tries.
    """
    for attempt in range(1, settings.STORE_TRIES_MAX + 1):
        try:
            return read(key)
        except FileNotFoundError:
            raise
        except Exception as error:  # as in `put`
            logger.warning("fetch_failed", key=key, attempt=attempt, error=type(error).__name__)
            if attempt == settings.STORE_TRIES_MAX:
                raise StorageFailed(type(error).__name__) from error
            time.sleep(settings.STORE_RETRY_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("the loop returns or raises")


def listing(folder: str | None = None) -> Iterator[Stored]:
    """Every file under the prefix that pictures are kept under, or in a folder of it, with its time."""
    found: Iterator[Stored] = default_storage.listing(folder or settings.STORAGE_PREFIX)  # type: ignore[attr-defined]
    return found


def unfinished_uploads() -> Iterator[Upload]:
    for folder in folders():
        yield from default_storage.unfinished_uploads(folder)  # type: ignore[attr-defined]


def folders() -> tuple[str, str]:
    """The prefixes that everything of ours is under: pictures, which expire, and models, which do not."""
    return settings.STORAGE_PREFIX, settings.MODELS_PREFIX


def abort(upload: Upload) -> None:
    default_storage.abort(upload)  # type: ignore[attr-defined]


def walk(folder: str | None = None) -> Iterator[str]:
    """The keys of `listing`."""
    return (stored.key for stored in listing(folder))


def walk_everything() -> Iterator[Stored]:
    """Every file of ours, with its time."""
    return (stored for folder in folders() for stored in listing(folder))


class SignedFileSystemStorage(FileSystemStorage):
    """Files on this machine, reached only by links that are signed and run out, as a private bucket's are."""

    def __init__(self, location: str | None = None) -> None:
        super().__init__(location=location, allow_overwrite=True, file_permissions_mode=0o600)

    def url(self, name: str | None, parameters: dict[str, str] | None = None) -> str:
        """`parameters` as S3 takes them; only `ResponseContentDisposition` is known here."""
        disposition = (parameters or {}).get("ResponseContentDisposition", "")
        token = signing.TimestampSigner(salt=URL_SALT).sign_object([name, disposition])
        return reverse("generation:file", args=[token])

    def read_link(self, token: str) -> tuple[str, str]:
        """The key a link is for, and how the answer should say it is kept (Content-Disposition; may be empty).

        Raises signing.BadSignature: forged or older than `SIGNED_URL_SECONDS`.
        """
        signer = signing.TimestampSigner(salt=URL_SALT)
        name, disposition = signer.unsign_object(token, max_age=settings.SIGNED_URL_SECONDS)
        return str(name), str(disposition)

    def listing(self, folder: str) -> Iterator[Stored]:
        """Every file below a folder with its time; nothing when there is no such folder."""
        for place, _, names in os.walk(self.path(folder)):
            for name in names:
                path = Path(place, name)
                try:
                    modified_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                except FileNotFoundError:  # deleted meanwhile
                    continue
                yield Stored(path.relative_to(self.location).as_posix(), modified_at)

    def unfinished_uploads(self, folder: str) -> Iterator[Upload]:
        """None: what a crash leaves here is an ordinary file, and shows in `listing`."""
        return iter(())

    def _save(self, name: str, content: File) -> str:
        # Whole or not at all: a crash or a full disk must not leave half a picture under a good name.
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return name


def with_clean_up(keys: Iterable[str]) -> Callable[[], None]:
    """A hook for `transaction.on_commit` that deletes files whose rows have gone."""
    doomed = list(keys)
    return lambda: delete(doomed)
