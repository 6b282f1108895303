"""What the page tests share: people with clients, finished jobs, and the studio's form as a browser sends it."""

from django.test import Client

from accounts.models import User
from generation import storage, transitions
from generation.encode import encode
from generation.models import Image, Job
from tests.factories import make_job, make_user
from tests.fake_engine import picture

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/studio"}


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def make_stranger() -> Client:
    """Somebody who is signed in, in another team."""
    return client_of(make_user(credits=5))


def studio_form(**fields: object) -> dict[str, object]:
    """The composer's fields, as a browser sends them untouched with a prompt typed in."""
    untouched = {
        "prompt": "a red fox by a lake",
        "style": "",
        "product": "",
        "count": "1",
        "expand": "on",
        "negative_prompt": "",
        "size": "",
        "quality": "standard",
        "num_inference_steps": "",
        "guidance_scale": "",
        "seed": "",
        "request_key": "a-key",
    }
    return untouched | fields


def complete(job: Job, *, blocked: int = 0) -> Job:
    """Bring a queued job to its end as a worker does, with real files; its last `blocked` pictures are kept back."""
    (claimed,) = [
        found
        for found in transitions.claim(worker="test", models=["starter"], images_max=lambda job: 1)
        if found == job
    ]
    images = [_stored(claimed, place) for place in range(job.count - blocked)]
    reasons = [{"index": job.count - 1 - n, "code": "blank", "reason": "It was blank."} for n in range(blocked)]
    assert transitions.finish(claimed, images, blocked=reasons)
    job.refresh_from_db()
    return job


def make_completed_job(user: User, **fields: object) -> Job:
    return complete(make_job(user, **fields))


def make_image(user: User, **fields: object) -> Image:
    return make_completed_job(user, **fields).images.get()


def _stored(job: Job, place: int) -> Image:
    keys, files = storage.keys_of(job, place), encode(picture(job.width, job.height, job.seed + place))
    for key, content in zip(keys, (files.original, files.preview, files.thumbnail), strict=True):
        storage.put(key, content)
    return Image(
        job=job,
        team_id=job.team_id,
        index=place,
        seed=job.seed + place,
        key=keys.original,
        preview_key=keys.preview,
        thumbnail_key=keys.thumbnail,
        width=job.width,
        height=job.height,
        size_bytes=len(files.original),
        sha256="0" * 64,
    )
