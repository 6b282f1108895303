"""The worker with a fake device: claim, draw, store, finish, and everything that can go wrong between."""

from datetime import timedelta
from io import BytesIO

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image as Pillow

from generation import events, services, storage, sweeper, transitions
from generation.engine import ModelUnavailable, OutOfMemory
from generation.engine.safety import Verdict
from generation.models import Image, Job
from tests.drawing import credits_of, run
from tests.factories import allow, make_job, make_user
from tests.patience import eventually, happens


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings):
    """The post stage and the leases work in threads of their own, on connections of their own."""
    settings.STORE_RETRY_SECONDS = 0
    settings.RETRY_BASE_SECONDS = 0
    settings.HEARTBEAT_SECONDS = 0.1


@pytest.fixture
def user():
    made = make_user(credits=100)
    allow(made, 10)
    return made


def test_a_job_becomes_pictures(worker, user):
    job = make_job(user, count=2, size="384x256", seed=5)
    run(worker)
    job.refresh_from_db()
    assert (job.status, job.charged_centi, job.model_revision) == ("completed", 1200, "fake")
    assert job.device_ms is not None and job.device_done_at and job.finished_at and job.processing_ms is not None
    first, second = job.images.order_by("index")
    assert first.key == f"ai-generated/{user.id}/{job.id}.png"
    assert second.key == f"ai-generated/{user.id}/{job.id}-1.png"
    assert (first.seed, second.seed, first.width, first.height) == (5, 6, 384, 256)
    assert storage.read(first.key).startswith(b"\x89PNG") and len(storage.read(first.key)) == first.size_bytes
    assert storage.read(first.thumbnail_key)[8:12] == b"WEBP"
    assert first.sha256 != second.sha256
    assert credits_of(user) == (8800, 0)
    assert events.progress_of(job.id).status == "completed"


def test_jobs_of_one_shape_share_a_batch_and_each_gets_its_own_pictures(worker, engine, user):
    jobs = [make_job(user, seed=seed, prompt=f"fox {seed}") for seed in (10, 20, 30)]
    run(worker)
    assert [len(batch.requests) for batch in engine.batches] == [3]
    alone = make_job(user, seed=20, prompt="fox 20")
    run(worker)
    assert alone.images.get().sha256 == jobs[1].images.get().sha256


def test_the_finished_picture_is_seen_before_any_of_its_files_is_stored(worker, user, monkeypatch):
    """The store keeps no file until the watchers have the preview."""
    real, seen = default_storage.save, []
    job = make_job(user)

    def is_shown():
        told, preview = events.progress_of(job.id), events.client().get(f"preview:{job.id}")
        return told and told.phase == "storing" and preview and Pillow.open(BytesIO(preview)).size == (256, 256)

    def save(name, content):
        seen.append(happens(is_shown) if False not in seen else False)
        return real(name, content)

    monkeypatch.setattr(default_storage, "save", save)
    run(worker)
    job.refresh_from_db()
    assert (job.status, seen) == ("completed", [True, True, True])


def test_a_store_that_hiccups_is_tried_again(worker, user, monkeypatch):
    real, calls = default_storage.save, []

    def fail_twice(name, content):
        calls.append(name)
        if len(calls) <= 2:
            raise OSError("no space left on device")
        return real(name, content)

    monkeypatch.setattr(default_storage, "save", fail_twice)
    job = make_job(user)
    run(worker)
    job.refresh_from_db()
    assert job.status == "completed" and sorted(set(calls)) == sorted(storage.files_of(job.images.get()))
    assert len(calls) == 3 + 2


def test_a_store_that_stays_down_fails_the_job_and_refunds_it(worker, engine, user, monkeypatch, settings):
    def fail(name, content):
        raise OSError("no space left on device")

    monkeypatch.setattr(default_storage, "save", fail)
    job = make_job(user)
    settings.RETRY_BASE_SECONDS = 5
    run(worker)
    job.refresh_from_db()
    assert job.status == "queued" and job.run_after - timezone.now() > timedelta(seconds=20)  # as of an outage
    Job.objects.update(run_after=timezone.now())
    settings.RETRY_BASE_SECONDS = 0
    for _ in range(2):
        run(worker)
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.attempts) == ("failed", "storage", 3)
    assert not Image.objects.exists() and list(storage.walk(f"ai-generated/{user.id}")) == []
    assert credits_of(user) == (10_000, 0)


def test_an_engine_that_fails_once_is_asked_again(worker, engine, user):
    engine.failures = [RuntimeError("device-side assert"), OutOfMemory("too large")]
    job = make_job(user)
    for _ in range(3):
        run(worker)
    job.refresh_from_db()
    assert (job.status, job.attempts) == ("completed", 3)
    assert job.images.get().key.endswith(f"{job.id}.{job.fence}.png")


def test_a_model_that_is_not_there_fails_at_once_and_alarms(worker, engine, user, caplog):
    engine.failures = [ModelUnavailable("starter: weights differ from models.lock")]
    job = make_job(user)
    run(worker)
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.attempts) == ("failed", "model_unavailable", 1)
    assert "model_unavailable" in caplog.text
    assert credits_of(user) == (10_000, 0)


def block(*places):
    verdicts = iter(range(100))

    def check(pixels):
        is_blocked = next(verdicts) in places
        return Verdict(False, "It looks broken.", "broken") if is_blocked else Verdict(True, "", "")

    return check


def test_a_blocked_picture_is_neither_shown_nor_charged(worker, user, monkeypatch):
    monkeypatch.setattr("generation.engine.safety.check", block(1))
    job = make_job(user, count=4)
    run(worker)
    job.refresh_from_db()
    assert list(job.images.order_by("index").values_list("index", flat=True)) == [0, 2, 3]
    assert job.metadata["blocked"] == [{"index": 1, "code": "broken", "reason": "It looks broken."}]
    assert job.charged_centi == 1800 and credits_of(user) == (8200, 0)


def test_a_job_whose_pictures_are_all_blocked_fails_in_words_and_is_free(worker, user, monkeypatch):
    monkeypatch.setattr("generation.engine.safety.check", block(0, 1))
    job = make_job(user, count=2)
    run(worker)
    job.refresh_from_db()
    assert (job.status, job.failure_code) == ("failed", "blocked")
    assert "image check" in job.failure
    assert credits_of(user) == (10_000, 0)


def test_cancel_stops_the_device_at_its_next_step(worker, engine, user, monkeypatch):
    """By the looks at Redis: no heartbeat tells. Five looks while one step lasts, for the device waits for them."""
    monkeypatch.setattr(transitions, "heartbeat", lambda held: {job_id for job_id, _ in held})
    job, steps, looks, noticed = make_job(user, num_inference_steps=8), [], [], []
    look = events.canceled_among
    monkeypatch.setattr(events, "canceled_among", lambda job_ids: looks.append(1) or look(job_ids))

    def cancel_at_three(number):
        steps.append(number)
        if number == 3:
            services.cancel_job(job)
            looks_wanted = len(looks) + 5
            noticed.append(happens(lambda: len(looks) >= looks_wanted))
            noticed.append(worker._leases.is_lost(worker._hands.held()[0]))

    engine.before_step = cancel_at_three
    run(worker)
    job.refresh_from_db()
    assert (job.status, steps, noticed) == ("canceled", [1, 2, 3], [True, True])
    assert not Image.objects.exists() and credits_of(user) == (10_000, 0)


def test_a_cancelled_member_does_not_sink_its_batch(worker, engine, user, settings):
    settings.PROGRESS_SECONDS = settings.CANCEL_LOOK_SECONDS = 0.01
    stays, goes = make_job(user, prompt="stays"), make_job(user, prompt="goes")
    engine.before_step = lambda number: services.cancel_job(goes) if number == 1 else None
    run(worker)
    stays.refresh_from_db(), goes.refresh_from_db()
    assert (stays.status, goes.status) == ("completed", "canceled")
    assert stays.images.count() == 1 and goes.images.count() == 0
    assert credits_of(user) == (9400, 0)
    assert not default_storage.exists(f"ai-generated/{user.id}/{goes.id}.png")


def test_cancel_works_while_redis_is_away(worker, engine, user, settings, monkeypatch):
    """Without a flag in Redis the heartbeat tells the worker."""
    monkeypatch.setattr(events, "flag_canceled", lambda job_id: None)
    engine.step_seconds = 0.1
    job = make_job(user, num_inference_steps=30)
    engine.before_step = lambda number: services.cancel_job(job) if number == 2 else None
    run(worker)
    job.refresh_from_db()
    assert job.status == "canceled" and not Image.objects.exists()


def test_a_stopping_worker_hands_its_job_back_uncounted(worker, engine, user):
    job = make_job(user, num_inference_steps=8)
    engine.before_step = lambda number: worker.ask_to_stop() if number == 2 else None
    run(worker)
    job.refresh_from_db()
    assert (job.status, job.attempts, job.fence) == ("queued", 0, 2)


def test_a_late_worker_deletes_only_its_own_file(worker, engine, user, settings):
    settings.HEARTBEAT_SECONDS = 60  # else it may renew the lease that is about to have run out
    job = make_job(user)

    def somebody_else_wins(number):
        if number != 2 or Job.objects.get(id=job.id).fence > 1:
            return
        Job.objects.filter(id=job.id).update(lease_until=timezone.now() - timedelta(seconds=1))
        sweeper.recover_lost_jobs()

    engine.before_step = somebody_else_wins
    run(worker)
    run(worker)
    job.refresh_from_db()
    assert job.status == "completed" and job.attempts == 2
    files = list(storage.walk(f"ai-generated/{user.id}"))
    image = job.images.get()
    assert sorted(files) == sorted(storage.files_of(image)) and f".{job.fence}." in image.key
    assert credits_of(user) == (9400, 0)


def test_a_job_larger_than_the_batch_cap_is_drawn_in_parts(worker, engine, user, monkeypatch):
    monkeypatch.setattr("generation.engine.catalog.ModelSpec.batch_cap", lambda self, width, height: 3)
    job = make_job(user, count=4, num_inference_steps=2)
    engine.before_step = lambda number: eventually(
        lambda: number == 1 or ((told := events.progress_of(job.id)) and told.steps_total == 4)
    )
    run(worker)
    assert [len(batch.requests) for batch in engine.batches] == [3, 1]
    assert job.images.count() == 4


def test_watchers_see_steps_and_a_rough_picture(worker, engine, user, settings):
    settings.PROGRESS_SECONDS = settings.CANCEL_LOOK_SECONDS = 0.01
    job, told = make_job(user, num_inference_steps=4), []

    def look(number):
        if number > 1:
            eventually(lambda: (progress := events.progress_of(job.id)) and progress.steps_done == number - 1)
            told.append(events.progress_of(job.id))

    engine.before_step = look
    run(worker)
    assert [(p.phase, p.steps_done, p.steps_total) for p in told] == [("drawing", n, 4) for n in (1, 2, 3)]
    assert all(progress.has_preview for progress in told)
    assert events.client().get(f"preview:{job.id}")[8:12] == b"WEBP"


def test_waiting_jobs_are_told_their_place(worker, user):
    first, second = make_job(user, size="512x512"), make_job(user)
    sweeper.tell_positions()
    assert events.progress_of(first.id).reason == "You are next."
    told = events.progress_of(second.id)
    assert (told.position, told.reason) == (2, "1 ahead of you.")


def test_without_a_worker_the_reason_says_so(user):
    job = make_job(user)
    sweeper.tell_positions()
    assert "No worker for Starter is running" in events.progress_of(job.id).reason


def test_a_job_that_comes_back_to_the_same_worker_is_not_taken_for_lost(worker, user, monkeypatch):
    """The heartbeat asks about the old fence while the worker claims the job anew under the next one."""
    job = make_job(user)
    leases = worker._leases
    (claimed,) = transitions.claim(worker=worker.name, models=["starter"], images_max=lambda job: 1)
    leases.add([claimed])

    def job_comes_back(held):
        transitions.release(claimed)
        (again,) = transitions.claim(worker=worker.name, models=["starter"], images_max=lambda job: 1)
        leases.add([again])
        return Job.objects.filter(id=job.id, fence=claimed.fence).values_list("id", flat=True)

    with monkeypatch.context() as patch:
        patch.setattr("generation.leases.transitions.heartbeat", job_comes_back)
        leases.renew()
    job.refresh_from_db()
    assert job.fence == 3 and not leases.is_lost(job)
