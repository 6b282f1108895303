"""Jobs drawn by a remote provider: posted, asked for, fetched, charged once; and every way that can go wrong."""

import json
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from generation import events, storage, transitions, waits
from generation.models import Image, Job, Provider, RemoteRequest
from generation.remote import requests
from tests.drawing import credits_of
from tests.factories import make_job, make_user
from tests.fake_provider import encoded, sends_json
from tests.fake_web import hangs_up, raw, redirects, sends
from tests.remote import fresh, hook, make_provider, run, states


def ended(job: Job) -> tuple[str, str, int]:
    now = fresh(job)
    return now.status, now.failure_code, now.attempts


def make_late() -> None:
    RemoteRequest.objects.update(deadline_at=Now() - timedelta(seconds=1), next_poll_at=Now())


# --- The good way ---------------------------------------------------------------------------------------------------
def test_a_job_is_posted_and_its_pictures_come_by_asking(worker, fake, user):
    provider = make_provider(fake)
    job = make_job(user, count=2, size="384x256", seed=5, negative_prompt="fog")
    run(worker)
    (post,) = fake.posts()
    assert (
        post.headers["Authorization"] == "Bearer key-of-the-fake" and post.headers["Idempotency-Key"] == f"{job.id}.1"
    )
    assert json.loads(post.body) == {
        "request_id": str(RemoteRequest.objects.get().id),
        "model": "starter",
        "prompt": job.expanded_prompt,
        "negative_prompt": "fog",
        "width": 384,
        "height": 256,
        "count": 2,
        "seeds": [5, 6],
        "steps": 2,
        "guidance_scale": job.guidance_scale,
        "callback_url": f"https://tenkai.example.com/api/v1/webhooks/provider/{provider.id}",
    }
    run(worker, 2)
    assert fresh(job).status == "processing" and fresh(job).worker == "remote:fake"
    assert events.progress_of(job.id).phase == "drawing"
    fake.finish()
    run(worker, 3)
    job = fresh(job)
    assert (job.status, job.charged_centi, job.attempts) == ("completed", 1200, 1)
    first, second = job.images.order_by("index")
    assert (first.seed, second.seed, first.width, first.height) == (5, 6, 384, 256)
    assert first.key == f"ai-generated/{user.id}/{job.id}.png" and storage.read(first.key).startswith(b"\x89PNG")
    assert first.sha256 != second.sha256
    request = RemoteRequest.objects.get()
    assert (request.state, request.images, str(request.price_per_image)) == ("delivered", 2, "0.00300")
    assert credits_of(user) == (8800, 0) and events.progress_of(job.id).status == "completed"


def test_an_endpoint_may_answer_at_once(worker, fake, user):
    make_provider(fake, status_url="")
    fake.is_instant = True
    job = make_job(user)
    run(worker, 2)
    assert fresh(job).status == "completed" and fake.polls() == [] and credits_of(user) == (9400, 0)


def test_a_queue_is_spoken_to_in_its_own_words(worker, fake, user):
    provider = make_provider(fake, kind="queue")
    job = make_job(user, count=2, seed=9)
    run(worker)
    (post,) = fake.posts()
    assert post.headers["Authorization"] == "Key key-of-the-fake"
    said = json.loads(post.body)
    assert (said["image_size"], said["num_images"], said["seed"]) == ({"width": job.width, "height": job.height}, 2, 9)
    (order,) = fake.orders.values()
    assert order["callback_url"].endswith(str(provider.id))
    fake.finish(status="COMPLETED")
    run(worker, 3)
    assert fresh(job).status == "completed" and fresh(job).images.count() == 2
    assert [asked.path.split("/")[1] for asked in fake.asked][-4:] == ["status", "result", "files", "files"]
    assert credits_of(user) == (8800, 0)


def test_what_a_provider_says_about_money_and_people_is_not_read(worker, fake, user):
    other = make_user(credits=100)
    make_provider(fake)
    job = make_job(user)
    run(worker)
    fake.finish(cost="99", credits=9900, team=str(other.id), user_id=other.id, job_id=str(make_job(other).id), seed=666)
    run(worker, 3)
    assert (fresh(job).charged_centi, fresh(job).user_id, job.images.get().seed) == (600, user.id, job.seed)
    assert credits_of(user) == (9400, 0)


@pytest.mark.parametrize(
    ("file_format", "kind"), [("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("PNG", "image/png")]
)
def test_whatever_format_comes_our_own_file_is_stored(worker, fake, user, file_format, kind):
    make_provider(fake)
    job = make_job(user)
    run(worker)
    secret = {"exif": b"Exif\0\0secret-canary"} if file_format != "PNG" else {}
    content = encoded(job.width, job.height, 3, file_format, **secret)
    fake.finish(images=[{"url": fake.put_file(content, kind)}])
    run(worker, 3)
    stored = storage.read(fresh(job).images.get().key)
    assert stored.startswith(b"\x89PNG") and stored != content and b"canary" not in stored


def test_a_provider_takes_so_many_at_a_time_and_only_what_it_serves(worker, fake, user):
    make_provider(fake, requests_max=2)
    make_provider(fake, slug="other", serves=["sd15"], position=1)
    jobs = [make_job(make_user(credits=100)) for _ in range(3)]
    run(worker, 3)
    assert sorted(fresh(job).status for job in jobs) == ["processing", "processing", "queued"]
    assert set(RemoteRequest.objects.values_list("provider__slug", flat=True)) == {"fake"}


@pytest.mark.parametrize("fields", [{"is_active": False}, {"api_secret": "MISSING"}])
def test_a_provider_that_is_not_ready_gets_nothing(worker, fake, user, fields):
    make_provider(fake, **fields)
    job = make_job(user)
    run(worker, 2)
    assert fresh(job).status == "queued" and fake.asked == [] and not RemoteRequest.objects.exists()


def test_those_who_wait_see_that_somebody_serves_their_model(worker, fake, user):
    make_provider(fake)
    job = make_job(user)
    assert "No worker" in waits.wait_of(job).reason
    worker.beat()
    assert waits.wait_of(job).reason == "You are next."


# --- Answers that are late, missing, or errors ----------------------------------------------------------------------
def test_the_lease_lasts_as_long_as_the_providers_deadline(worker, fake, user):
    make_provider(fake, deadline_seconds=60)
    job = make_job(user)
    run(worker)
    Job.objects.filter(pk=job.pk).update(lease_until=Now() + timedelta(seconds=1))
    worker.beat()
    assert fresh(job).lease_until > timezone.now() + timedelta(seconds=20)
    RemoteRequest.objects.update(deadline_at=Now() - timedelta(seconds=1))
    before = fresh(job).lease_until
    worker.beat()
    assert fresh(job).lease_until == before


def test_a_provider_that_never_answers_is_given_up_and_refunded(worker, fake, user):
    make_provider(fake, status_url="")
    job = make_job(user)
    for attempt in (1, 2, 3):
        run(worker, 2)
        assert ended(job) == ("processing", "", attempt)
        make_late()
        run(worker)
    assert ended(job) == ("failed", "provider_timeout", 3)
    assert states() == ["expired"] * 3 and len(fake.posts()) == 3
    assert len({asked.headers["Idempotency-Key"] for asked in fake.posts()}) == 3
    assert not Image.objects.exists() and credits_of(user) == (10_000, 0)


def test_an_answer_after_the_deadline_changes_nothing(worker, fake, user, settings):
    provider = make_provider(fake)
    settings.JOB_ATTEMPTS_MAX = 1
    job = make_job(user)
    run(worker)
    request_id = fake.finish()
    make_late()
    run(worker)
    assert ended(job) == ("failed", "provider_timeout", 1)
    answer = fake.deliver(hook(provider), fake.finished[request_id])
    run(worker, 2)
    assert answer.status_code == 200 and states() == ["expired"]
    assert not Image.objects.exists() and credits_of(user) == (10_000, 0)


@pytest.mark.parametrize(
    "reply",
    [
        sends(500, b"oops"), sends(503, b""), hangs_up(), raw(b"garbage\r\n\r\n"), sends_json(200, []),
        sends_json(200, {"status": "dancing"}), sends(200, b"{", content_type="application/json"),
        sends(200, b"<html>", content_type="text/html"), sends_json(200, {"request_id": 7}),
        sends_json(200, {"request_id": "../../etc/passwd"}), sends_json(200, {"status": "completed", "images": 5}),
        sends_json(200, {"status": "completed", "images": [{"url": 5}]}),
        sends_json(200, {"status": "completed", "images": [{"url": "https://a.example/"}] * 500}),
        sends(200, b"[" * 100_000, content_type="application/json"),
    ],
)  # fmt: skip
def test_a_hiccup_while_posting_is_tried_again_with_the_same_key(worker, fake, user, reply):
    make_provider(fake)
    fake.will_post(reply)
    job = make_job(user)
    run(worker, 2)
    fake.finish()
    run(worker, 3)
    assert ended(job) == ("completed", "", 1)
    assert [asked.headers["Idempotency-Key"] for asked in fake.posts()] == [f"{job.id}.1"] * 2
    assert states() == ["delivered"] and credits_of(user) == (9400, 0)


def test_a_lost_answer_to_a_post_orders_nothing_twice(worker, fake, user):
    """The provider has taken the order, but its answer is lost: the same key finds the same order."""
    make_provider(fake)
    taken = []

    def takes_it_and_hangs_up(handler):
        taken.append(fake._take(fake.asked[-1]))
        hangs_up()(handler)

    fake.will_post(takes_it_and_hangs_up)
    job = make_job(user)
    run(worker, 2)
    fake.finish()
    run(worker, 3)
    assert fresh(job).status == "completed" and len(fake.posts()) == 2 and len(fake.orders) == 1


def test_a_provider_that_stays_broken_costs_an_attempt_and_gets_some_peace(worker, fake, user, settings):
    provider = make_provider(fake)
    fake.will_post(*[sends(500, b"")] * 3)
    job = make_job(user)
    run(worker, 3)
    assert ended(job) == ("queued", "", 1) and states() == ["failed"]
    provider.refresh_from_db()
    assert provider.failures == 1 and provider.paused_until > timezone.now()
    run(worker, 3)
    assert len(fake.posts()) == 3
    Provider.objects.update(paused_until=Now())
    run(worker)
    fake.finish()
    run(worker, 3)
    provider.refresh_from_db()
    assert ended(job) == ("completed", "", 2) and (provider.failures, provider.paused_until) == (0, None)
    assert credits_of(user) == (9400, 0)


@pytest.mark.parametrize("reply", [sends(401, b""), sends(402, b""), sends(404, b""), sends(429, b""), redirects("/x")])
def test_a_provider_that_takes_nothing_costs_no_attempt(worker, fake, user, reply, caplog):
    make_provider(fake)
    fake.will_post(reply)
    job = make_job(user)
    run(worker, 2)
    assert ended(job) == ("queued", "", 0) and states() == ["failed"] and len(fake.posts()) == 1
    assert "provider_takes_nothing" in caplog.text and "key-of-the-fake" not in caplog.text
    assert credits_of(user) == (9400, 600)
    Provider.objects.update(paused_until=Now())
    run(worker)
    fake.finish()
    run(worker, 3)
    assert ended(job) == ("completed", "", 1) and credits_of(user) == (9400, 0)


def test_a_job_that_another_process_claims_at_once_keeps_its_request(worker, fake, user, monkeypatch):
    """Between handing the job back and closing the request: what the next claim took along is not ours to close."""
    make_provider(fake)
    other = make_provider(fake, slug="other", is_active=False)
    fake.will_post(sends(429, b""))
    job, release = make_job(user), transitions.release

    def release_and_somebody_claims(held):
        return release(held) and requests.begin(other) is not None

    monkeypatch.setattr(transitions, "release", release_and_somebody_claims)
    run(worker)
    request = RemoteRequest.objects.get(job=job)
    assert (request.state, request.fence) == ("unsent", fresh(job).fence) and ended(job) == ("processing", "", 1)
    assert [job_id for job_id, fence in requests.held() if fence == request.fence] == [job.id]  # its lease is renewed


def test_a_request_that_is_wrong_is_not_repeated(worker, fake, user):
    make_provider(fake)
    fake.will_post(sends_json(422, {"detail": "prompt refused"}))
    job = make_job(user)
    run(worker, 2)
    assert ended(job) == ("failed", "provider_refused", 1) and len(fake.posts()) == 1
    assert "prompt refused" in RemoteRequest.objects.get().failure and "prompt" not in fresh(job).failure
    assert credits_of(user) == (10_000, 0)


def test_a_drawing_that_fails_there_is_tried_again_as_a_new_request(worker, fake, user):
    make_provider(fake)
    job = make_job(user)
    for _ in range(3):
        run(worker)
        fake.finish(status="failed", error={"message": "out of memory on device 3"}, images=[])
        run(worker, 2)
    assert ended(job) == ("failed", "provider_failed", 3) and states() == ["failed"] * 3
    assert "device 3" in RemoteRequest.objects.first().failure and "device" not in fresh(job).failure
    assert credits_of(user) == (10_000, 0)


def test_hiccups_while_asking_change_nothing(worker, fake, user):
    make_provider(fake)
    job = make_job(user)
    run(worker)
    real, broken = fake._status, iter([sends(500, b""), hangs_up(), sends(429, b""), sends_json(200, {"status": "?"})])
    fake._status = lambda request_id: next(broken, None) or real(request_id)
    run(worker, 4)
    assert fresh(job).status == "processing" and states() == ["posted"]
    fake.finish()
    run(worker, 3)
    assert ended(job) == ("completed", "", 1) and credits_of(user) == (9400, 0)


def test_a_provider_that_has_lost_a_request_is_not_waited_for(worker, fake, user):
    make_provider(fake)
    job = make_job(user)
    run(worker)
    fake.orders.clear()
    run(worker, 3)
    assert ended(job) == ("queued", "", 1) and states() == ["failed"] and credits_of(user) == (9400, 600)


def test_two_requests_with_one_id_are_one_too_many(worker, fake, user):
    make_provider(fake)
    first, second = make_job(user), make_job(make_user(credits=100))
    fake.will_post(*[sends_json(202, {"request_id": "same", "status": "queued"})] * 2)
    run(worker)
    assert sorted(state for state in states()) == ["failed", "posted"]
    assert sorted([fresh(first).status, fresh(second).status]) == ["processing", "queued"]
