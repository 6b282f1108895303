"""Trainers killed at every failpoint of a training, and stopped for a deploy: resumed or refunded, charged once."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connections
from django.db.models.functions import Now

from credits.audit import find_drift
from credits.queries import balance_of
from generation import cleanup, storage, sweeper
from generation.models import CustomModel, Job, ModelVersion
from generation.worker import Worker
from tenkaigen.failpoints import KNOWN, arm
from tests.factories import make_training_job, make_user, team_of
from tests.fake_engine import FakeEngine
from tests.faults.processes import wait_for

KINDS = [Job.Kind.CREATION, Job.Kind.REFINEMENT]
POINTS = [*sorted(point for point in KNOWN if point.startswith("train.")), "claim.after_commit", "settle.after_entries"]
AT_A_LATER_TURN = {"train.step": 17, "train.before_checkpoint": 2, "train.after_checkpoint_put": 2}
STEPS = 20


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings):
    """Other processes see what a test makes."""
    settings.TRAINING_CHECKPOINT_STEPS, settings.TRAINING_SAMPLE_STEPS = 5, 10
    settings.ORPHAN_AGE_HOURS = 0
    settings.HEARTBEAT_SECONDS = 0.2


@contextmanager
def trainer() -> Iterator[Worker]:
    engine = FakeEngine()
    made = Worker(engine, models=["starter"], kinds=KINDS)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def begin(failpoints: str = "", stays_before: int = 0) -> int:
    """A trainer in a process of its own that does what is queued, as `gpu_worker` does, SIGTERM included; its id.

    With `stays_before` it waits for SIGTERM before that step.
    """
    connections.close_all()  # a connection in two processes is none
    if child := os.fork():
        return child
    try:
        arm(failpoints)
        with trainer() as worker:

            def stay(step: int) -> None:
                while step == stays_before and not worker.is_stopping:
                    time.sleep(0.01)

            assert isinstance(worker._engine, FakeEngine)
            worker._engine.before_step = stay
            signal.signal(signal.SIGTERM, lambda number, frame: worker.ask_to_stop())
            worker.drain()
    finally:
        os._exit(0)


def how_it_ended(child: int) -> int:
    return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def heir() -> FakeEngine:
    """Another trainer that does what is queued; what its device was asked for."""
    with trainer() as worker:
        worker.drain()
        assert isinstance(worker._engine, FakeEngine)
        return worker._engine


def lose_the_lease(job: Job) -> None:
    Job.objects.filter(id=job.id, status="processing").update(lease_until=Now() - timedelta(seconds=1))
    sweeper.recover_lost_jobs()


def files_of(team_id: UUID) -> set[str]:
    return {key for key in storage.walk(f"models/{team_id}") if "/images/" not in key}


def assert_delivered_once(user, job: Job) -> None:
    """After the sweep: charged once, every file named, every named file there and what its row says."""
    version = ModelVersion.objects.select_related("job", "model").get(job=job)
    assert (version.job.status, version.job.charged_centi) == ("completed", 700)
    now = balance_of(team_of(user))
    assert find_drift() == [] and (now.available_centi, now.held_centi) == (10_000 - 700, 0)
    assert CustomModel.objects.get(pk=version.model_id).current_id == version.pk
    storage.delete([key for key in cleanup.orphans() if str(job.team_id) in key])
    samples = [sample["key"] for sample in version.samples]
    assert [sample["step"] for sample in version.samples] == [10, 10, 20, 20]
    assert files_of(job.team_id) == {version.adapter_key, *samples}
    assert [point[0] for point in version.losses] == list(range(1, STEPS + 1))
    assert version.checkpoint_key == "" and version.model.pictures.count() == 4
    assert all(storage.read(key) for pair in version.model.pictures.values_list("key", "thumbnail_key") for key in pair)


def test_a_trainer_killed_anywhere_is_charged_once_and_leaves_no_file(settings, tmp_path):
    settings.FAILPOINT_LOG = str(tmp_path / "hit")
    resumed_from = {}
    for point in POINTS:
        user = make_user(credits=100)
        job = make_training_job(user, steps=STEPS)
        assert how_it_ended(begin(f"{point}=kill@{AT_A_LATER_TURN.get(point, 1)}")) == signal.SIGKILL, point
        lose_the_lease(job)
        resumed_from[point] = [first for _, first in heir().trainings]
        assert_delivered_once(user, job)
    assert set((tmp_path / "hit").read_text().split()) == set(POINTS)
    assert len(list(settings.TRAINING_DIR.iterdir())) > 1  # what the dead left of people's pictures
    for left in settings.TRAINING_DIR.iterdir():
        os.utime(left, (0, 0))
    make_training_job(user, pictures=3, steps=1), heir()
    assert list(settings.TRAINING_DIR.iterdir()) == []
    assert resumed_from == {
        "train.begin": [0], "train.step": [15], "train.before_checkpoint": [5], "train.after_checkpoint_put": [5],
        "train.after_checkpoint": [5], "train.after_sample_put": [5], "train.done": [15], "train.before_finish": [15],
        "train.after_version": [15], "train.after_settle": [15], "train.after_commit": [], "claim.after_commit": [0],
        "settle.after_entries": [15],
    }  # fmt: skip


def test_a_training_that_kills_every_trainer_is_given_up_and_free():
    user = make_user(credits=100)
    job = make_training_job(user, steps=STEPS)
    for _ in range(3):
        assert how_it_ended(begin("train.step=kill@2")) == signal.SIGKILL
        lose_the_lease(job)
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.attempts) == ("failed", "worker_lost", 3)
    assert job.failure == "The training could not be done: its worker stopped too often."
    now = balance_of(team_of(user))
    assert find_drift() == [] and (now.available_centi, now.held_centi) == (10_000, 0)
    assert files_of(job.team_id) == set() and heir().trainings == []


def test_a_deploy_costs_neither_an_attempt_nor_the_steps_before_the_checkpoint():
    user = make_user(credits=100)
    job = make_training_job(user, steps=STEPS)
    leaving = begin(stays_before=8)
    wait_for(ModelVersion.objects.filter(job=job, steps_done__gte=5).exists)
    os.kill(leaving, signal.SIGTERM)
    wait_for(Job.objects.filter(id=job.id, status="queued", attempts=0).exists)
    assert how_it_ended(leaving) == 0
    ((_, first),) = heir().trainings
    assert first >= 5
    assert_delivered_once(user, job)


def test_a_paused_trainer_comes_back_late_and_changes_nothing(settings):
    user = make_user(credits=100)
    job = make_training_job(user, steps=STEPS)
    zombie = begin("train.after_checkpoint_put=stop@2")
    wait_for(lambda: os.waitid(os.P_PID, zombie, os.WSTOPPED | os.WNOHANG | os.WNOWAIT))
    lose_the_lease(job)
    assert [first for _, first in heir().trainings] == [5]
    os.kill(zombie, signal.SIGCONT)
    assert how_it_ended(zombie) == 0
    assert not [key for key in files_of(job.team_id) if "checkpoint" in key]  # its own file went with it
    assert_delivered_once(user, job)
