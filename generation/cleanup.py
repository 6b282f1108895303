"""Deletes pictures whose time has run out, and finds files that no row names."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from generation import services, storage
from generation.models import Image, ModelVersion, TrainingImage
from generation.storage import Upload

BATCH_MAX = 500


def expired() -> list[Image]:
    return list(Image.objects.filter(expires_at__lte=Now()).order_by("expires_at")[:BATCH_MAX])


def delete_expired() -> int:
    """Delete every expired picture, a batch at a time. How many went."""
    deleted = 0
    while batch := expired():
        for image in batch:
            services.delete_image(image)
        deleted += len(batch)
    return deleted


def orphans() -> Iterator[str]:
    """Keys of files that are older than `ORPHAN_AGE_HOURS` and that no image, picture or version names."""
    # A young file may belong to a job that is about to finish.
    old = (stored.key for stored in storage.walk_everything() if stored.modified_at < _old_before())
    while batch := list(islice(old, BATCH_MAX)):
        named = _named(batch)
        yield from (key for key in batch if key not in named)


def dangling_uploads() -> Iterator[Upload]:
    """Uploads in parts that were begun more than `ORPHAN_AGE_HOURS` ago: their worker is dead."""
    return (upload for upload in storage.unfinished_uploads() if upload.begun_at < _old_before())


def _named(keys: Iterable[str]) -> set[str]:
    keys = list(keys)
    named: set[str] = set()
    for column in storage.VARIANTS.values():
        named.update(Image.objects.filter(**{f"{column}__in": keys}).values_list(column, flat=True))
    models = [key for key in keys if key.startswith(f"{settings.MODELS_PREFIX}/")]
    for column in ("key", "thumbnail_key"):
        named.update(TrainingImage.objects.filter(**{f"{column}__in": models}).values_list(column, flat=True))
    for version in ModelVersion.objects.filter(pk__in=filter(None, map(_version_of, models))):
        named.update((version.adapter_key, version.checkpoint_key, *(sample["key"] for sample in version.samples)))
    return named


def _version_of(key: str) -> UUID | None:
    """The version that a file was made for, as its key says."""
    try:
        return UUID(key.split("/")[-2].partition(".")[0])
    except (IndexError, ValueError):
        return None


def _old_before() -> datetime:
    return timezone.now() - timedelta(hours=settings.ORPHAN_AGE_HOURS)
