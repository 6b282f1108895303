"""The next batch is claimed while this one is drawn; leaving and hanging give everything back."""

import faulthandler
import threading
import time
from itertools import pairwise

import pytest
from django.db import DatabaseError

from generation import events, transitions, watchdog
from generation.models import Job, Node
from generation.watchdog import EXIT_HUNG, Watchdog
from generation.worker import Worker
from tests.drawing import worker_that_may_hang
from tests.factories import allow, make_job, make_user
from tests.patience import eventually


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings):
    settings.HEARTBEAT_SECONDS = 0.1
    settings.RETRY_BASE_SECONDS = 0
    settings.CLAIM_AHEAD_SECONDS = 3600  # from the first step on, however long it took


@pytest.fixture
def user():
    made = make_user(credits=200)
    allow(made, 10)
    return made


def of(job) -> tuple[str, int, int]:
    job.refresh_from_db()
    return job.status, job.attempts, job.fence


# --- Ahead ----------------------------------------------------------------------------------------------------------
def test_the_next_batch_is_claimed_and_its_prompts_encoded_while_the_device_is_busy(worker, engine, user):
    first, second = make_job(user), make_job(make_user(credits=100), size="512x512", prompt="a green boat")
    claimed_by_step = []

    def look(number):
        if len(engine.batches) == 1 and number == 2:
            eventually(lambda: engine.prepared)
            claimed_by_step.append((of(second)[0], events.progress_of(second.id).phase))

    engine.before_step = look
    assert worker.drain() == 2
    worker.wait_for_post_stage()
    assert claimed_by_step == [("processing", "next")]
    assert engine.prepared[0] == engine.batches[1]
    assert (of(first)[0], of(second)[0]) == ("completed", "completed")


def test_no_more_than_one_batch_is_claimed_ahead(worker, engine):
    jobs = [make_job(make_user(credits=100), guidance_scale=2 + place) for place in range(4)]
    most = []
    engine.before_step = lambda number: (
        time.sleep(0.05)
        or most.append(Job.objects.filter(status="processing").count() - len(worker._poster._queue.queue))
    )
    worker.drain()
    worker.wait_for_post_stage()
    assert len(engine.batches) == 4 and all(of(job)[0] == "completed" for job in jobs)
    assert len(worker._hands.held()) == 0 and max(most) <= 2 + 2  # drawn, ahead, and what the post stage still has


def test_a_long_job_lets_others_claim_until_it_is_nearly_done(worker, engine, settings, user):
    settings.CLAIM_AHEAD_SECONDS = 0.0
    make_job(user, num_inference_steps=4)
    second, seen = make_job(make_user(credits=100), size="512x512"), []
    engine.step_seconds = 0.02
    engine.before_step = lambda number: seen.append(of(second)[0]) if len(engine.batches) == 1 else None
    worker.drain()
    assert seen == ["queued"] * 4


def test_what_was_claimed_ahead_is_drawn_though_the_time_is_up(worker, engine, user):
    first = make_job(user)
    second, third = (make_job(make_user(credits=100), size=size) for size in ("512x512", "384x384"))

    def time_is_up(number):
        if len(engine.batches) == 1 and number == 2:
            eventually(lambda: "processing" in (of(second)[0], of(third)[0]))
            worker._drain_until = 0

    engine.before_step = time_is_up
    assert worker.drain() == 2
    worker.wait_for_post_stage()
    assert of(first)[0] == "completed" and sorted([of(second)[0], of(third)[0]]) == ["completed", "queued"]


def test_a_database_that_is_away_for_a_moment_costs_the_claim_ahead_and_no_more(worker, engine, user, monkeypatch):
    jobs = [make_job(user), make_job(make_user(credits=100), size="512x512")]
    claim, threads = transitions.claim, []

    def away_for_the_one_ahead(**wanted):
        threads.append(threading.current_thread().name)
        if threads[-1].startswith("ahead") and len(threads) < 3:
            raise DatabaseError
        return claim(**wanted)

    monkeypatch.setattr(transitions, "claim", away_for_the_one_ahead)
    worker.drain()
    worker.wait_for_post_stage()
    assert [of(job)[0] for job in jobs] == ["completed", "completed"]
    assert any(name.startswith("ahead") for name in threads)


# --- Leaving --------------------------------------------------------------------------------------------------------
def test_leaving_gives_the_leases_back_while_the_step_still_runs(worker, engine, user):
    drawn, ahead = make_job(user, num_inference_steps=4), make_job(make_user(credits=100), size="512x512")
    told, step = [], threading.Event()

    def stop_in_a_long_step(number):
        if number == 2:
            eventually(lambda: of(ahead)[0] == "processing")
            worker.ask_to_stop()
            eventually(lambda: of(drawn)[0] == "queued" and of(ahead)[0] == "queued")
            told.append((of(drawn), of(ahead)))
            step.set()

    engine.before_step = stop_in_a_long_step
    assert worker.drain() == 1 and step.is_set()
    assert told == [(("queued", 0, 2), ("queued", 0, 2))]
    assert (of(drawn), of(ahead)) == told[0] and len(engine.batches) == 1


def test_what_is_drawn_is_delivered_before_leaving(worker, engine, user):
    job = make_job(user)
    engine.before_step = lambda number: None
    worker.drain()
    worker.stop()
    assert of(job)[0] == "completed"


# --- Hanging --------------------------------------------------------------------------------------------------------
def test_a_device_that_hangs_ends_the_process_and_its_jobs_are_tried_again(engine, user, settings):
    settings.HANG_SECONDS = 4
    worker, ended, unblock = worker_that_may_hang(engine)
    hung, ahead = make_job(user), make_job(make_user(credits=100), size="512x512")

    def hang(number):
        if number == 2:
            eventually(lambda: of(ahead)[0] == "processing")
            assert unblock.wait(20)

    engine.before_step = hang
    worker.drain()
    assert ended == [EXIT_HUNG]
    # The attempt of the job it hung on counts; the one that was only claimed ahead lost nothing.
    assert of(hung) == ("queued", 1, 2) and of(ahead) == ("queued", 0, 2)
    assert Node.objects.get(name=worker.name).state == "stopped"
    worker.stop()


def test_steps_keep_the_watchdog_quiet(engine, user, settings):
    settings.HANG_SECONDS = 1.5
    engine.step_seconds = 0.25
    for _ in range(5):
        ended, moments = [], [time.monotonic()]
        engine.before_step = lambda number, moments=moments: moments.append(time.monotonic())
        worker = Worker(
            engine, models=["starter"], watchdog=lambda on_hang, ended=ended: Watchdog(on_hang, leave=ended.append)
        )
        worker.start()
        job = make_job(user, num_inference_steps=10)
        worker.drain()
        worker.stop()
        if max(after - before for before, after in pairwise(moments)) < 0.8:
            break  # else the machine stood still, and the dog was right
    assert ended == [] and of(job)[0] == "completed"


def test_a_watchdog_that_watches_nothing_is_petted_for_nothing(monkeypatch):
    """Armed outside, it would end the process of a worker that rests."""
    armed = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **more: armed.append(seconds))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: armed.append(None))
    monkeypatch.setattr(watchdog, "PET_SECONDS", 0)
    dog = Watchdog(lambda what: None, is_hard=True)
    dog.pet()
    with dog.watching("drawing", 5):
        dog.pet()
    dog.pet()
    assert armed == [10, 10, None]
