"""Two models and room for one: few swaps, nobody waits long, and watchers are told."""

import time

import pytest

from generation import events, waits
from generation.engine.catalog import CATALOG
from generation.models import ImageModel, Job
from generation.worker import Worker
from tests.factories import make_job, make_user

GIB = 2**30
TWO = ["starter", "sd15"]


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings):
    ImageModel.objects.update(is_active=True)
    settings.DEVICE_MEMORY_BYTES = CATALOG["sd15"].memory_bytes + GIB // 2  # not both: the fake says a GiB each


@pytest.fixture
def worker(engine):
    made = Worker(engine, models=TWO)
    made.start()
    yield made
    made.stop()


def request(model: str, place: int = 0) -> Job:
    return make_job(make_user(credits=100), model=model, num_inference_steps=10, seed=place)


def drain(worker) -> None:
    worker.drain()
    worker.wait_for_post_stage()


def test_only_what_fits_is_loaded_at_the_start(worker, engine):
    assert engine.loads == ["starter"]


def test_both_are_held_where_there_is_room(engine, settings):
    settings.DEVICE_MEMORY_BYTES = 0
    made = Worker(engine, models=TWO)
    made.start()
    assert engine.loads == TWO
    request("sd15"), request("starter")
    drain(made)
    assert engine.loads == TWO and made._device.residency.swaps == 0
    made.stop()


def test_a_job_of_the_other_model_is_drawn_when_nothing_else_waits(worker, engine):
    job = request("sd15")
    told = []
    engine.load_seconds = 0.05
    loading = worker._device.residency._on_loading

    def listen(model):
        loading(model)
        told.append((events.progress_of(job.id).phase, [known["state"] for known in events.workers()]))

    worker._device.residency._on_loading = listen
    drain(worker)
    job.refresh_from_db()
    assert job.status == "completed" and told == [("loading", ["loading"])]
    assert [loaded.name for loaded in engine.resident()] == ["sd15"] and worker._device.residency.swaps == 1


def test_those_who_wait_for_a_loading_model_are_told(worker, engine, monkeypatch):
    first = request("sd15")
    second = make_job(make_user(credits=100), model="sd15", num_inference_steps=10, guidance_scale=3)
    words = []
    loading = worker._device.residency._on_loading

    def listen(model):
        loading(model)
        words.append(waits.wait_of(Job.objects.get(id=second.id)).reason)

    worker._device.residency._on_loading = listen
    drain(worker)
    assert "loading" in words[0].lower() and Job.objects.get(id=first.id).status == "completed"


def test_a_hundred_jobs_of_two_models_cost_few_swaps_and_none_waits_past_the_bound(worker, engine, settings):
    settings.RESIDENT_JOBS_MAX = 10
    jobs = [request(TWO[place % 2], place) for place in range(60)]
    drain(worker)
    assert Job.objects.filter(status="completed").count() == len(jobs)
    assert worker._device.residency.swaps <= 9  # 15 in a hundred
    order = [batch.model for batch in engine.batches for _ in batch.requests]
    longest, run = 0, 0
    for place, model in enumerate(order):
        run = run + 1 if place and order[place - 1] == model else 1
        # While the other model has jobs left, nobody draws on and on; a batch already begun, and the one ahead, end.
        if place < 50:
            longest = max(longest, run)
    assert longest <= settings.RESIDENT_JOBS_MAX + 2 * 4


def test_time_is_a_bound_too(worker, engine, settings):
    settings.RESIDENT_JOBS_MAX = 1000
    settings.RESIDENT_SECONDS_MAX = 0.3
    settings.CLAIM_AHEAD_SECONDS = 0
    engine.step_seconds = 0.005
    for place in range(16):
        make_job(make_user(credits=100), num_inference_steps=10, guidance_scale=2 + place / 10)
    late = request("sd15")
    began = time.monotonic()
    moments = []
    engine.before_picture = lambda request: moments.append((engine.batches[-1].model, time.monotonic() - began))
    drain(worker)
    late.refresh_from_db()
    place = [model for model, _ in moments].index("sd15")
    assert late.status == "completed" and place < 16, "it waited for all of them"


def test_a_device_that_is_full_empties_itself_for_one_more_try(worker, engine, settings):
    from generation.engine import OutOfMemory

    settings.DEVICE_MEMORY_BYTES = 0
    made = Worker(engine, models=TWO)
    made.start()
    engine.failures = [OutOfMemory("full")]
    job = request("starter")
    drain(made)
    job.refresh_from_db()
    assert (job.status, job.attempts) == ("completed", 1)
    assert [loaded.name for loaded in engine.resident()] == ["starter"]
    made.stop()
