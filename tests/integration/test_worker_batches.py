"""Batches of the worker: what shares a run, what a full or failing device does to it, and that members stay alone."""

import time

import pytest

from credits.audit import find_drift
from credits.queries import balance_of
from generation import batches, services
from generation.engine import BrokenPictures, DeviceLost, LoadedModel
from generation.models import BatchProfile, Image, Job
from generation.worker import Worker
from tests.drawing import run
from tests.factories import allow, make_job, make_user, team_of
from tests.patience import quickest

LOADED = LoadedModel("starter", "fake", 0.0, 2**30)


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings):
    settings.STORE_RETRY_SECONDS = 0
    settings.RETRY_BASE_SECONDS = 0
    settings.PROGRESS_SECONDS = settings.CANCEL_LOOK_SECONDS = 0.01


@pytest.fixture
def user():
    made = make_user(credits=200)
    allow(made, 10)
    return made


def statuses(jobs) -> list[str]:
    return [Job.objects.get(id=job.id).status for job in jobs]


def sizes(engine) -> list[int]:
    return [len(batch.requests) for batch in engine.batches]


def charged_centi(user) -> int:
    assert find_drift() == []
    now = balance_of(team_of(user))
    assert now.held_centi == 0
    return 20_000 - now.available_centi


# --- What shares a run ----------------------------------------------------------------------------------------------
def test_prompts_of_unlike_length_are_drawn_apart(worker, engine, user):
    engine.buckets = len
    jobs = [make_job(user, prompt=prompt, expand=False) for prompt in ("fox", "a long tale of foxes", "cat")]
    run(worker)
    assert sorted(sizes(engine)) == [1, 2] and statuses(jobs) == ["completed"] * 3
    shared = next(batch for batch in engine.batches if len(batch.requests) == 2)
    assert len({len(request.prompt) for request in shared.requests}) == 1


def test_a_job_is_not_held_back_for_company(worker, engine, user):
    jobs = []

    def draw_one():
        jobs.append(make_job(user))
        run(worker)

    assert quickest(draw_one, under=2) < 2
    assert set(sizes(engine)) == {1} and set(statuses(jobs)) == {"completed"}


# --- A member that fails --------------------------------------------------------------------------------------------
def spoil(engine, *seeds) -> None:
    """The model makes no picture of these seeds."""
    draw = engine._draw

    def half(batch, on_step):
        pictures = [
            None if request.seed in seeds else picture
            for request, picture in zip(batch.requests, draw(batch, on_step), strict=True)
        ]
        if None in [picture if picture is None else 0 for picture in pictures]:
            raise BrokenPictures(pictures)
        return pictures

    engine._draw = half


def test_a_broken_picture_fails_only_its_own_job(worker, engine, user, settings):
    settings.JOB_ATTEMPTS_MAX = 1
    jobs = [make_job(user, seed=seed) for seed in (1, 2, 3)]
    spoil(engine, 2)
    run(worker)
    assert statuses(jobs) == ["completed", "failed", "completed"]
    assert Job.objects.get(id=jobs[1].id).failure_code == "no_picture"
    assert sizes(engine) == [3] and charged_centi(user) == 1200


def test_a_job_delivers_and_charges_what_the_model_made_of_it(worker, engine, user):
    job = make_job(user, seed=10, count=4)
    spoil(engine, 11)
    run(worker)
    job.refresh_from_db()
    assert job.status == "completed" and charged_centi(user) == 1800
    assert list(job.images.order_by("index").values_list("index", flat=True)) == [0, 2, 3]
    assert [blocked["index"] for blocked in job.metadata["blocked"]] == [1]


def test_a_request_that_crashes_the_run_is_found_and_fails_alone(worker, engine, user, settings):
    settings.JOB_ATTEMPTS_MAX = 1
    jobs = [make_job(user, seed=seed) for seed in (1, 2, 3)]

    def crash(request):
        if request.seed == 2:
            raise RuntimeError("index out of range")

    engine.before_picture = crash
    run(worker)
    assert statuses(jobs) == ["completed", "failed", "completed"]
    assert sizes(engine) == [3, 1, 1, 1] and charged_centi(user) == 1200


def test_a_canceled_member_is_neither_stored_nor_charged(worker, engine, user, monkeypatch):
    stays, goes = make_job(user, seed=1), make_job(user, seed=2)
    encoded = []
    monkeypatch.setattr("generation.post.safety.check", lambda pixels: encoded.append(1) or FINE)

    def cancel(number):
        if number == 1:
            services.cancel_job(goes)
            held = next(job for job in worker._hands.held() if job == goes)
            while not worker._leases.is_lost(held):
                time.sleep(0.005)

    engine.before_step = cancel
    run(worker)
    assert statuses([stays, goes]) == ["completed", "canceled"] and sizes(engine) == [2]
    assert len(encoded) == 1 and Image.objects.count() == 1 and charged_centi(user) == 600


FINE = type("Verdict", (), {"ok": True, "code": "", "reason": ""})()


# --- A device that is full ------------------------------------------------------------------------------------------
def test_a_batch_that_does_not_fit_is_halved_once_and_remembered(worker, engine, user):
    BatchProfile.objects.create(hardware="fake", model="starter", revision="fake", width=256, height=256, images_max=4)
    engine.images_max = 2
    jobs = [make_job(user, seed=seed) for seed in range(4)]
    run(worker)
    assert sizes(engine) == [4, 2, 2] and statuses(jobs) == ["completed"] * 4
    assert all(Job.objects.get(id=job.id).attempts == 1 for job in jobs)
    assert BatchProfile.objects.get().images_max == 2
    more = [make_job(user, seed=seed) for seed in range(4, 8)]
    run(worker)
    assert sizes(engine)[3:] == [2, 2] and statuses(more) == ["completed"] * 4


def test_a_batch_that_does_not_fit_in_halves_fails_those_that_do_not(worker, engine, user, settings):
    settings.JOB_ATTEMPTS_MAX = 1
    engine.images_max = 1
    jobs = [make_job(user, seed=seed) for seed in range(4)]
    run(worker)
    assert sizes(engine) == [4, 2, 2]
    assert {Job.objects.get(id=job.id).failure_code for job in jobs} == {"out_of_memory"}
    assert charged_centi(user) == 0


def test_a_lost_device_fails_the_attempt_and_ends_the_process(engine, user):
    left = []
    worker = Worker(engine, models=["starter"], leave=lambda: left.append("asked"))
    worker.start()
    engine.failures = [DeviceLost("no answer")]
    job = make_job(user)
    worker.drain()
    job.refresh_from_db()
    assert (job.status, job.attempts, left, worker.is_stopping) == ("queued", 1, ["asked"], True)
    worker.stop()


# --- Caps -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("milliseconds", "best"),
    [
        ({}, 1),
        ({1: 100}, 1),
        # SGLang on one H200, Qwen-Image: `research/performance.md` 2.1
        ({1: 167, 2: 183, 3: 186, 4: 240, 8: 425}, 3),
        ({1: 243, 2: 474, 3: 711}, 1),
        ({1: 100, 2: 150, 4: 190}, 4),
        ({1: 100, 2: 300, 4: 150}, 4),  # a hiccup in the middle
    ],
)
def test_the_largest_batch_that_makes_a_picture_cheaper_and_nobody_wait_long(milliseconds, best):
    assert batches.choose(milliseconds) == best


def test_what_a_batch_is_worth_is_measured_once_and_kept(engine):
    engine.step_table = {"256": {"1": 0.02, "2": 0.022, "3": 0.024, "4": 0.09}}
    caps = batches.Caps(engine)
    caps.measure(LOADED, time.monotonic() + 60)
    row = BatchProfile.objects.get()
    # The starter draws every size at one: one measurement for seven.
    assert (row.hardware, row.model, row.width, row.height, row.images_max) == ("fake", "starter", 256, 256, 3)
    assert sorted(row.milliseconds) == ["1", "2", "3", "4"]
    engine.batches.clear()
    again = batches.Caps(engine)
    again.learn(LOADED)
    again.measure(LOADED, time.monotonic() + 60)
    assert engine.batches == []
    assert again.of(Job(model="starter", width=512, height=512)) == 3


def test_other_weights_are_measured_anew(engine):
    BatchProfile.objects.create(hardware="fake", model="starter", revision="old", width=256, height=256, images_max=1)
    caps = batches.Caps(engine)
    caps.learn(LOADED)
    assert caps.of(Job(model="starter", width=256, height=256)) == 4  # the catalogue's


def test_measuring_ends_where_the_memory_does(engine):
    engine.images_max = 2
    engine.step_table = {"256": {"1": 0.02, "2": 0.02}}
    batches.Caps(engine).measure(LOADED, time.monotonic() + 60)
    assert sorted(BatchProfile.objects.get().milliseconds) == ["1", "2"]


def test_no_size_is_measured_after_its_time(engine):
    batches.Caps(engine).measure(LOADED, time.monotonic() - 1)
    assert engine.batches == [] and not BatchProfile.objects.exists()
