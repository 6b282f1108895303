"""GPU workers as real processes: killed, paused, without Redis. Jobs and credits survive all of it."""

import os
import signal
from contextlib import ExitStack

import pytest

from credits.audit import find_drift
from credits.queries import balance_of
from generation import services, storage, sweeper
from generation.models import Job
from tests.factories import make_job, make_params, make_user, team_of
from tests.faults.processes import running, wait_for

PATIENT = {"LEASE_SECONDS": "60"}  # a healthy worker keeps its job although the machine stands still for a moment
DEAD_REDIS = "redis://127.0.0.1:9/0"


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue):
    """Other processes see what a test makes."""


@pytest.fixture
def user():
    return make_user(credits=100)


@pytest.fixture
def start(tmp_path):
    """Start GPU workers by name; all of them end with the test."""
    with ExitStack() as stack:

        def one(name, **extra):
            return stack.enter_context(running("gpu_worker", log=tmp_path / f"{name}.log", **extra))

        yield one


@pytest.fixture
def is_status():
    def check(job, status, **columns):
        return lambda: Job.objects.filter(id=job.id, status=status, **columns).exists()

    return check


def assert_charged_once(user, job) -> None:
    assert find_drift() == []
    now = balance_of(team_of(user))
    assert (now.available_centi, now.held_centi) == (10_000 - 600, 0)
    image = Job.objects.get(id=job.id).images.get()
    assert len(storage.read(image.key)) == image.size_bytes


def sweeping(check):
    """A beat's worth of sweeping beside a condition."""

    def swept():
        sweeper.sweep()
        return check()

    return swept


def test_a_worker_killed_mid_picture_loses_nothing(start, user, is_status, tmp_path):
    job = make_job(user, num_inference_steps=20)
    victim = start("victim", FAKE_STEP_SECONDS="0.5")
    wait_for(is_status(job, "processing"), log=tmp_path / "victim.log")
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    start("heir", **PATIENT)
    wait_for(sweeping(is_status(job, "completed")), log=tmp_path / "heir.log")
    job.refresh_from_db()
    assert (job.attempts, job.fence) == (2, 3)
    assert_charged_once(user, job)


def test_a_paused_worker_comes_back_late_and_writes_nothing(start, user, is_status, tmp_path):
    job = make_job(user, num_inference_steps=20)
    sleeper = start("sleeper", FAKE_STEP_SECONDS="0.4")
    wait_for(is_status(job, "processing"), log=tmp_path / "sleeper.log")
    os.killpg(sleeper.pid, signal.SIGSTOP)
    start("heir", **PATIENT)
    wait_for(sweeping(is_status(job, "completed")), log=tmp_path / "heir.log")
    os.killpg(sleeper.pid, signal.SIGCONT)
    # The late one has finished its business when it takes new work.
    another = make_job(user, seed=8, num_inference_steps=4)
    wait_for(is_status(another, "completed"))
    services.delete_image(another.images.get())
    job.refresh_from_db()
    assert job.attempts == 2
    image = job.images.get()
    wait_for(lambda: sorted(storage.walk(f"ai-generated/{user.id}")) == sorted(storage.files_of(image)))
    assert find_drift() == []


def test_sigterm_hands_the_job_back_at_once(start, user, is_status, tmp_path):
    job = make_job(user, num_inference_steps=20)
    leaving = start("leaving", FAKE_STEP_SECONDS="0.5", HEARTBEAT_SECONDS="1", LEASE_SECONDS="600")
    wait_for(is_status(job, "processing"), log=tmp_path / "leaving.log")
    os.kill(leaving.pid, signal.SIGTERM)
    wait_for(is_status(job, "queued", attempts=0, fence=2), log=tmp_path / "leaving.log")  # long before its lease ends
    assert leaving.wait(timeout=60) == 0


def test_the_second_sigterm_ends_at_once_whatever_the_device_does(start, user, is_status, tmp_path):
    job = make_job(user, num_inference_steps=20)
    leaving = start("leaving", FAKE_STEP_SECONDS="100", HEARTBEAT_SECONDS="1", LEASE_SECONDS="600")
    wait_for(is_status(job, "processing"), log=tmp_path / "leaving.log")
    os.kill(leaving.pid, signal.SIGTERM)
    wait_for(is_status(job, "queued", attempts=0, fence=2), log=tmp_path / "leaving.log")
    assert leaving.poll() is None  # the step runs on
    os.kill(leaving.pid, signal.SIGTERM)
    assert leaving.wait(timeout=10) == 128 + signal.SIGTERM


def test_a_submit_without_redis_is_accepted_and_done_all_the_same(start, user, is_status, settings, tmp_path):
    from generation import bell

    broken = bell.app.connection_for_write(DEAD_REDIS)

    def ring_into_the_void(kind="image"):
        bell.app.send_task(bell.DRAIN, connection=broken, retry=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bell, "ring_now", ring_into_the_void)
        job = services.submit_job(team=team_of(user), user=user, params=make_params(), request_key="no redis")
    deaf = start("deaf", REDIS_URL=DEAD_REDIS)
    wait_for(is_status(job, "completed"), log=tmp_path / "deaf.log")
    assert_charged_once(user, job)
    os.kill(deaf.pid, signal.SIGTERM)
    assert deaf.wait(timeout=60) == 0  # it need not hear a bell to leave


def test_two_workers_share_the_queue_and_draw_nothing_twice(start, user, is_status, tmp_path):
    jobs = [make_job(user, seed=seed, size="512x512") for seed in range(6)]
    start("one", FAKE_STEP_SECONDS="0.05"), start("two", FAKE_STEP_SECONDS="0.05")
    wait_for(lambda: Job.objects.filter(status="completed").count() == len(jobs), log=tmp_path / "one.log")
    assert all(job.images.count() == 1 and job.attempts == 1 for job in Job.objects.all())
    assert balance_of(team_of(user)).available_centi == 10_000 - 6 * 600
    assert find_drift() == []
