"""What a remote provider may send instead of pictures, and workers and jobs that end while it draws."""

import io
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from PIL import Image as Pillow

from generation import services, storage, transitions
from generation.models import Image, Job, Provider, RemoteRequest
from generation.remote import requests
from tests.drawing import credits_of
from tests.factories import make_job, make_user
from tests.fake_provider import encoded, png
from tests.fake_web import FakeWeb, hangs_up, redirects, sends
from tests.remote import (
    SECRETS,
    fresh,
    hook,
    lose_the_lease,
    make_provider,
    remote_worker,
    run,
    states,
)


def ended(job: Job) -> tuple[str, str, int]:
    now = fresh(job)
    return now.status, now.failure_code, now.attempts


def make_late() -> None:
    RemoteRequest.objects.update(deadline_at=Now() - timedelta(seconds=1), next_poll_at=Now())


# --- Pictures that are none -----------------------------------------------------------------------------------------
def bomb() -> bytes:
    return encoded(12_000, 4_000, 1, "PNG")


BAD = {
    "private address": lambda fake, job: "http://127.0.0.2:9/a.png",
    "metadata": lambda fake, job: "http://169.254.169.254/latest/meta-data/",
    "other host": lambda fake, job: "https://evil.example.org/a.png",
    "file": lambda fake, job: "file:///etc/passwd",
    "html": lambda fake, job: fake.put_file(b"<html>", "text/html"),
    "svg": lambda fake, job: fake.put_file(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    "svg as png": lambda fake, job: fake.put_file(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png"),
    "eps as png": lambda fake, job: fake.put_file(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/png"),
    "gif as png": lambda fake, job: fake.put_file(encoded(job.width, job.height, 1, "GIF"), "image/png"),
    "tiff as png": lambda fake, job: fake.put_file(encoded(job.width, job.height, 1, "TIFF"), "image/png"),
    "noise": lambda fake, job: fake.put_file(bytes(range(256)) * 40),
    "empty": lambda fake, job: fake.put_file(b""),
    "cut": lambda fake, job: fake.put_file(png(job.width, job.height)[:-200]),
    "too large": lambda fake, job: fake.put_file(b"\x89PNG" + b"x" * (20 * 2**20)),
    "other size": lambda fake, job: fake.put_file(png(job.width + 8, job.height)),
    "bomb": lambda fake, job: fake.put_file(bomb()),
    "animated": lambda fake, job: fake.put_file(animated(job), "image/webp"),
}


def animated(job: Job) -> bytes:
    frames = [Pillow.new("RGB", (job.width, job.height), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_picture_is_neither_stored_nor_charged(worker, fake, user, kind, settings, caplog):
    settings.JOB_ATTEMPTS_MAX = 1
    make_provider(fake)
    job = make_job(user)
    with FakeWeb(address="127.0.0.2") as canary:
        run(worker)
        url = BAD[kind](fake, job).replace("127.0.0.2:9", f"127.0.0.2:{canary.port}")
        fake.finish(images=[{"url": url}])
        run(worker, 3)
        assert canary.connections == 0
    assert ended(job) == ("failed", "provider_answer", 1) and states() == ["failed"]
    assert not Image.objects.exists() and list(storage.walk(f"ai-generated/{user.id}")) == []
    assert "provider_answer_refused" in caplog.text and credits_of(user) == (10_000, 0)


def test_a_redirect_to_a_host_that_is_not_on_the_list_is_not_followed(worker, fake, user, settings):
    settings.JOB_ATTEMPTS_MAX = 1
    make_provider(fake)
    job = make_job(user)
    with FakeWeb(address="127.0.0.2") as canary:
        run(worker)
        fake.answers["/moved"] = redirects(f"{canary.url}/a.png")
        fake.finish(images=[{"url": f"{fake.url}/moved"}])
        run(worker, 3)
        assert canary.connections == 0
    assert ended(job) == ("failed", "provider_answer", 1) and credits_of(user) == (10_000, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_more_or_fewer_pictures_than_ordered_are_not_taken(worker, fake, user, settings, count):
    settings.JOB_ATTEMPTS_MAX = 1
    make_provider(fake)
    job = make_job(user, count=2)
    run(worker)
    fake.finish(images=[{"url": fake.put_file(png(job.width, job.height))}] * count)
    run(worker, 3)
    assert ended(job) == ("failed", "provider_answer", 1) and credits_of(user) == (10_000, 0)


def test_a_picture_that_is_not_there_yet_is_fetched_later(worker, fake, user):
    make_provider(fake)
    job = make_job(user)
    run(worker)
    fake.answers["/late.png"] = [
        sends(404, b""), hangs_up(), sends(200, png(job.width, job.height), content_type="image/png"),
    ]  # fmt: skip
    fake.finish(images=[{"url": f"{fake.url}/late.png"}])
    run(worker, 5)
    assert ended(job) == ("completed", "", 1) and len(fake.posts()) == 1 and credits_of(user) == (9400, 0)


def test_a_store_that_is_down_does_not_order_the_picture_again(worker, fake, user, monkeypatch):
    make_provider(fake)
    job = make_job(user)
    run(worker)
    fake.finish()

    def fail(self, name, content):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage.SignedFileSystemStorage, "save", fail)
        run(worker, 2)
    assert ended(job) == ("queued", "", 1) and states() == ["answered"]
    run(worker, 2)
    assert ended(job) == ("completed", "", 2) and len(fake.posts()) == 1
    assert fresh(job).images.get().key.endswith(f"{job.id}.3.png") and credits_of(user) == (9400, 0)


# --- Cancel, and processes that die ---------------------------------------------------------------------------------
@pytest.mark.parametrize("ticks", [0, 1, 2])
def test_a_canceled_job_is_dropped_and_its_answer_changes_nothing(worker, fake, user, ticks):
    provider = make_provider(fake)
    job = make_job(user)
    run(worker, ticks)
    services.cancel_job(job)
    if fake.orders:
        fake.deliver(hook(provider), fake.finished[fake.finish()])
    run(worker, 3)
    assert ended(job)[0] == "canceled" and states() == (["dropped"] if ticks else [])
    assert not Image.objects.exists() and credits_of(user) == (10_000, 0)


def test_a_worker_that_dies_orders_nothing_twice(worker, fake, user):
    make_provider(fake)
    job = make_job(user)
    run(worker)
    lose_the_lease(job)
    with remote_worker(fake) as another:
        run(another, 2)
        assert ended(job) == ("processing", "", 2) and RemoteRequest.objects.get().fence == fresh(job).fence == 3
        fake.finish()
        run(another, 3)
    assert ended(job) == ("completed", "", 2) and len(fake.posts()) == 1 and states() == ["delivered"]
    assert credits_of(user) == (9400, 0)


def test_jobs_that_went_back_come_again_although_their_orders_fill_the_provider(worker, fake):
    make_provider(fake, requests_max=2)
    jobs = [make_job(make_user(credits=100)) for _ in range(2)]
    run(worker, 2)
    for job in jobs:
        lose_the_lease(job)
    run(worker, 2)
    assert [(fresh(job).status, fresh(job).attempts) for job in jobs] == [("processing", 2)] * 2
    for request in RemoteRequest.objects.all():
        fake.finish(request.provider_request_id)
    run(worker, 3)
    assert [fresh(job).status for job in jobs] == ["completed"] * 2
    assert len({asked.headers["Idempotency-Key"] for asked in fake.posts()}) == 2


def test_a_worker_that_dies_while_it_delivers_leaves_the_pictures_to_the_next(worker, fake, user):
    make_provider(fake)
    job = make_job(user)
    run(worker)
    fake.finish()
    run(worker)
    RemoteRequest.objects.filter(state="answered").update(state="delivering")
    run(worker, 2)
    worker.beat()
    assert states() == ["delivering"] and fresh(job).status == "processing"
    lose_the_lease(job)
    run(worker, 2)
    assert ended(job) == ("completed", "", 2) and len(fake.posts()) == 1
    assert fresh(job).images.get().key.endswith(f"{job.id}.3.png") and credits_of(user) == (9400, 0)


def test_an_old_answer_does_not_end_a_job_that_another_worker_holds(worker, fake, user):
    """Its lease was lost, and a device of our own has it now: the provider comes too late, and harms nothing."""
    make_provider(fake)
    job = make_job(user)
    run(worker)
    fake.finish()
    lose_the_lease(job)
    (claimed,) = transitions.claim(worker="gpu", models=["starter"], images_max=lambda job: 1)
    make_late()
    run(worker, 2)
    assert states() == ["expired"] and fresh(job).status == "processing" and fresh(job).worker == "gpu"
    assert transitions.heartbeat([(claimed.id, claimed.fence)]) == {job.id}


def test_the_last_place_is_given_once(fake, user):
    provider = make_provider(fake, requests_max=1)
    make_job(user), make_job(make_user(credits=100))
    assert requests.begin(provider) is not None and requests.begin(provider) is None
    assert Job.objects.filter(status="queued").count() == 1


def test_secrets_stay_out_of_rows_and_logs(worker, fake, user, caplog):
    make_provider(fake)
    make_job(user)
    fake.will_post(sends(500, b""))
    run(worker, 2)
    fake.finish()
    run(worker, 3)
    kept = [str(list(model.objects.values())) for model in (Provider, RemoteRequest, Job)] + [caplog.text]
    for secret in SECRETS.values():
        assert not [text for text in kept if secret in text]
