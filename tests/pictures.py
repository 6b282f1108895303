"""Delivered pictures, without a worker or an engine."""

import base64
import hashlib

from generation import storage, transitions
from generation.models import Image, Job
from tests.factories import put_first

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def deliver(job: Job) -> list[Image]:
    """Complete a queued job as a worker does; every file of every picture is a PNG of one pixel."""
    put_first(job)
    (claimed,) = transitions.claim(worker="test", models=[job.model], images_max=lambda job: 1)
    assert claimed == job
    images = []
    for index in range(job.count):
        keys = storage.keys_of(claimed, index)
        for key in keys:
            storage.put(key, PIXEL)
        files = {"key": keys.original, "preview_key": keys.preview, "thumbnail_key": keys.thumbnail}
        content = {"size_bytes": len(PIXEL), "sha256": hashlib.sha256(PIXEL).hexdigest()}
        shape = {"width": job.width, "height": job.height}
        images.append(Image(job=job, team=job.team, index=index, seed=job.seed + index, **shape, **files, **content))
    assert transitions.finish(claimed, images)
    return images
