"""A database that answers too late, broken rows, a device that hangs beside its work: no worker stays behind."""

import threading
import time

import pytest
from django.db import DatabaseError, OperationalError

from generation import post, runtime, storage, transitions
from generation.leases import Leases
from generation.models import Job
from generation.watchdog import EXIT_HUNG
from tests.drawing import credits_of, run, worker_that_may_hang
from tests.factories import allow, make_job, make_user
from tests.patience import eventually


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings, monkeypatch):
    settings.STORE_RETRY_SECONDS = 0
    settings.RETRY_BASE_SECONDS = 0
    settings.HEARTBEAT_SECONDS = 0.05
    monkeypatch.setattr(post, "FINISH_RETRY_SECONDS", 0)


@pytest.fixture
def user():
    made = make_user(credits=100)
    allow(made, 10)
    return made


def of(job) -> tuple[str, int]:
    job.refresh_from_db()
    return job.status, job.attempts


def files_of(user) -> list[str]:
    return sorted(storage.walk(f"ai-generated/{user.id}"))


# --- The answer to a commit is lost ---------------------------------------------------------------------------------
@pytest.mark.parametrize("away", [1, 2, 99])
def test_a_commit_whose_answer_is_lost_keeps_its_files(worker, user, monkeypatch, away):
    """The server commits and is gone, for a moment or for longer than we ask: the rows name the files."""
    finish, calls = transitions.finish, []

    def finish_and_lose_the_connection(*args, **more):
        calls.append(args)
        if len(calls) == 1:
            assert finish(*args, **more)
        if len(calls) <= away:
            raise OperationalError("server closed the connection unexpectedly")
        return finish(*args, **more)

    monkeypatch.setattr(transitions, "finish", finish_and_lose_the_connection)
    job = make_job(user)
    run(worker)
    assert of(job) == ("completed", 1) and len(calls) == min(away + 1, post.FINISH_TRIES_MAX)
    assert files_of(user) == sorted(storage.files_of(job.images.get()))
    assert credits_of(user) == (9400, 0)


def test_a_commit_that_arrives_while_it_is_tried_again_keeps_its_files(worker, user, monkeypatch):
    """The connection broke, the transaction did not: it commits just before the second one finds the job over."""
    finish, calls = transitions.finish, []

    def first_one_is_slow(*args, **more):
        calls.append(args)
        if len(calls) == 1:
            raise OperationalError("connection reset by peer")
        assert finish(*args, **more)
        return finish(*args, **more)

    monkeypatch.setattr(transitions, "finish", first_one_is_slow)
    job = make_job(user)
    run(worker)
    assert of(job) == ("completed", 1) and files_of(user) == sorted(storage.files_of(job.images.get()))
    assert credits_of(user) == (9400, 0)


def test_what_was_surely_not_finished_leaves_no_files(worker, user, monkeypatch):
    monkeypatch.setattr(transitions, "finish", lambda *args, **more: 1 / 0)
    job = make_job(user)
    for _ in range(3):
        run(worker)
    assert of(job) == ("failed", 3) and files_of(user) == [] and credits_of(user) == (10_000, 0)


# --- Threads that must not end --------------------------------------------------------------------------------------
def test_deliveries_that_nobody_can_end_do_not_end_the_post_stage(worker, user, monkeypatch, settings):
    """One thread less each time, and the device would soon wait for ever."""
    finish, fail = transitions.finish, transitions.fail
    lost = [make_job(user, guidance_scale=2 + place) for place in range(settings.POST_THREADS)]
    broken = {job.id for job in lost}

    def unless_broken(act):
        return lambda job, *args, **more: 1 / 0 if job.id in broken else act(job, *args, **more)

    monkeypatch.setattr(transitions, "finish", unless_broken(finish))
    monkeypatch.setattr(transitions, "fail", unless_broken(fail))
    worker.drain()
    eventually(lambda: not worker._leases._fences)
    assert [of(job) for job in lost] == [("processing", 1)] * len(lost)  # until their leases run out
    good = make_job(user)
    worker.drain()
    eventually(lambda: of(good) == ("completed", 1))


def test_a_beat_that_fails_is_not_the_last(caplog):
    beats, third = [], threading.Event()

    def beat():
        beats.append(1)
        if len(beats) == 1:
            raise RuntimeError("dictionary changed size during iteration")
        third.set()

    leases = Leases(on_beat=beat)
    leases.start()
    assert third.wait(20) and "heartbeat_failed" in caplog.text
    leases.stop()


def test_a_process_that_looks_by_itself_goes_on_after_any_failure(settings):
    settings.IDLE_POLL_SECONDS = 0.01

    worker = Scripted(RuntimeError("CUDA error"), DatabaseError("away"), 0)
    runtime._look_by_itself(worker)
    assert worker.left == []


# --- The device has work and nobody looks ---------------------------------------------------------------------------
class Scripted:
    """A worker whose drains end as they are told, and which stops after the last of them."""

    kinds = ("image",)

    def __init__(self, *outcomes):
        self.left = list(outcomes)

    @property
    def is_stopping(self):
        return not self.left

    def drain(self):
        outcome = self.left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def looks_until_the_end(worker) -> bool:
    thread = threading.Thread(target=runtime._look_by_itself, args=(worker,))
    thread.start()
    thread.join(timeout=10)
    has_ended = not thread.is_alive()
    worker.left.clear()
    runtime._wake.set()
    thread.join()
    return has_ended


def test_a_drain_whose_time_is_up_is_followed_by_the_next_one_at_once(settings):
    """The bells of a long queue have all rung by then: a pause would leave the device idle in front of it."""
    settings.IDLE_POLL_SECONDS = 60
    runtime._wake.clear()
    worker = Scripted(40, 40, 40, 3)
    assert looks_until_the_end(worker)


def test_a_bell_that_finds_the_worker_at_its_last_look_is_not_lost(settings, monkeypatch):
    settings.IDLE_POLL_SECONDS = 60
    runtime._wake.clear()
    monkeypatch.setattr(runtime, "_worker", Scripted(0, 0))
    runtime.drain()  # somebody else had the turn
    assert looks_until_the_end(Scripted(0, 5))


# --- Hanging beside the device --------------------------------------------------------------------------------------
def test_words_that_hang_the_encoder_end_the_process_and_cost_their_job_an_attempt(engine, user, settings):
    """Prompts are encoded ahead on a thread that no step pets; who waits for it would wait for ever."""
    settings.STALL_SECONDS, settings.CLAIM_AHEAD_SECONDS = 2, 3600
    worker, ended, unblock = worker_that_may_hang(engine)
    first, ahead = make_job(user), make_job(make_user(credits=100), size="512x512")
    engine.prepare = lambda batch: unblock.wait(20)
    engine.before_step = lambda number: time.sleep(0.3) if number == 2 else None  # time to claim the other
    worker.drain()
    worker.stop()
    assert ended == [EXIT_HUNG]
    assert sorted(of(job) for job in (first, ahead)) == [("completed", 1), ("queued", 1)]
    assert Job.objects.filter(status="processing").count() == 0
