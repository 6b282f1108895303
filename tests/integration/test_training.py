"""A training by a worker with a fake device: resumed, refused, refunded, delivered, and what others see of it."""

import hashlib
import time
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from generation import events, services, storage, sweeper, training, transitions
from generation.engine import DeviceLost, EngineError, LossDiverged, OutOfMemory, TooFewPictures
from generation.models import CustomModel, Job, ModelVersion
from generation.worker import Worker
from tests.drawing import credits_of
from tests.factories import make_job, make_training_job, make_user

TRAININGS = [Job.Kind.CREATION, Job.Kind.REFINEMENT]


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings):
    """Leases and tellers work in threads of their own, on connections of their own."""
    settings.STORE_RETRY_SECONDS = settings.RETRY_BASE_SECONDS = 0
    settings.HEARTBEAT_SECONDS = 0.1
    settings.TRAINING_CHECKPOINT_STEPS, settings.TRAINING_SAMPLE_STEPS = 5, 10
    settings.ORPHAN_AGE_HOURS = 0


@pytest.fixture
def user():
    return make_user(credits=100)


@pytest.fixture
def trainer(engine):
    made = Worker(engine, models=["starter"], kinds=TRAININGS, leave=lambda: None)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def another(engine):
    """The worker that comes after the first one."""
    made = Worker(engine, models=["starter"], kinds=TRAININGS)
    made.start()
    yield made
    made.stop()


def version_of(job: Job) -> ModelVersion:
    return ModelVersion.objects.select_related("model", "job").get(job=job)


def files_of(version: ModelVersion) -> set[str]:
    """What the store has of a model, without its training pictures."""
    folder = f"models/{version.model.team_id}/{version.model_id}"
    return {key for key in storage.walk(folder) if "/images/" not in key}


def named_by(version: ModelVersion) -> set[str]:
    keys = {version.adapter_key, version.checkpoint_key, *(sample["key"] for sample in version.samples)}
    return {key for key in keys if key}


def test_a_training_becomes_a_version_that_people_draw_with(trainer, engine, user):
    job = make_training_job(user, steps=20)
    assert trainer.drain() == 1 and engine.loads == ["starter"] and engine.resident() == []
    version = version_of(job)
    (asked, first), loss = engine.trainings[0], version.losses[0]
    word = version.model.trigger_word
    assert (asked.steps, asked.batch_size, asked.rank, asked.seed, asked.resolution, first) == (20, 2, 4, 5, 256, 0)
    assert [example.caption for example in asked.examples] == [word] + [f"{word}, a cat"] * 3
    assert (asked.trigger_word, asked.checkpoint_every, asked.sample_every, asked.parent) == (word, 5, 10, "")
    assert (version.job.status, version.job.charged_centi, version.job.attempts) == ("completed", 700, 1)
    assert version.job.device_ms is not None and version.job.model_revision == "fake"
    assert CustomModel.objects.get(pk=version.model_id).current == version and version.finished_at
    content = storage.read(version.adapter_key)
    assert (
        version.adapter_key == f"models/{version.model.team_id}/{version.model_id}/{version.pk}.1/adapter.safetensors"
    )
    assert (version.adapter_sha256, version.adapter_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (version.base_revision, version.checkpoint_key, version.steps_done) == ("fake", "", 20)
    assert loss == [1, 1.0] and [point[0] for point in version.losses] == list(range(1, 21))
    assert [(sample["step"], sample["prompt"]) for sample in version.samples] == [
        (10, "zuko7"), (10, "a zuko7"), (20, "zuko7"), (20, "a zuko7"),
    ]  # fmt: skip
    assert files_of(version) == named_by(version) and len(files_of(version)) == 5
    assert credits_of(user) == (10_000 - 700, 0)
    assert events.progress_of(job.id).status == "completed"
    assert events.speed_of(events.training_of("starter")) is not None
    assert list(training.settings.TRAINING_DIR.iterdir()) == []


def test_a_curve_has_few_points_and_a_refinement_starts_from_its_parent(trainer, engine, user):
    job = make_training_job(user, steps=450)
    trainer.drain()
    version = version_of(job)
    assert [len(version.losses), version.losses[0][0], version.losses[-1][0]] == [150, 3, 450]
    refined = make_training_job(user, parent=version, steps=5)
    trainer.drain()
    asked, _ = engine.trainings[1]
    assert hashlib.sha256(Path(asked.parent).read_bytes()).hexdigest() == version.adapter_sha256
    assert CustomModel.objects.get(pk=version.model_id).current == version_of(refined)
    assert credits_of(user) == (10_000 - 2 * 700, 0)


def test_a_stopping_trainer_hands_back_and_another_goes_on_from_the_checkpoint(trainer, another, engine, user):
    job = make_training_job(user, steps=20)
    engine.before_step = lambda number: trainer.ask_to_stop() if number == 12 else None
    trainer.drain()
    version = version_of(job)
    assert (version.job.status, version.job.attempts, version.job.fence) == ("queued", 0, 2)
    assert (version.steps_done, version.checkpoint_key.rpartition("/")[2]) == (10, "checkpoint-10.safetensors")
    another.drain()
    version = version_of(job)
    assert [first for _, first in engine.trainings] == [0, 10]
    assert (version.job.status, version.job.attempts, version.job.charged_centi) == ("completed", 1, 700)
    assert [point[0] for point in version.losses] == list(range(1, 21))
    assert f"{version.pk}.3/" in version.adapter_key and files_of(version) == named_by(version)
    assert credits_of(user) == (10_000 - 700, 0)


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_checkpoint_that_is_not_what_was_written_is_not_used(trainer, another, engine, user, damage, caplog):
    job = make_training_job(user, steps=12)
    engine.before_step = lambda number: trainer.ask_to_stop() if number == 7 else None
    trainer.drain()
    key = version_of(job).checkpoint_key
    default_storage.delete(key)
    if damage == "changed":
        storage.put(key, b"something else")
    another.drain()
    assert [first for _, first in engine.trainings] == [0, 0] and "checkpoint_not_usable" in caplog.text
    version = version_of(job)
    assert version.job.status == "completed" and version.losses[0][0] == 1 and len(version.losses) == 12
    assert files_of(version) == named_by(version)


@pytest.mark.parametrize(
    ("failures", "code", "attempts", "is_quarantined"),
    [
        ([TooFewPictures("1 of 4")], "too_few_pictures", 1, False),
        ([LossDiverged("nan")], "loss_diverged", 1, False),
        ([OutOfMemory("2"), OutOfMemory("1")], "out_of_memory", 2, True),
        ([EngineError("no such layers")], "training", 1, True),
        ([RuntimeError("assert")] * 3, "training", 3, True),
        ([DeviceLost("Xid 79")], "device_lost", 1, False),
    ],
)
def test_what_goes_wrong_has_a_name_and_is_free(trainer, engine, user, failures, code, attempts, is_quarantined):
    job = make_training_job(user)
    engine.failures = list(failures)
    for _ in range(attempts):
        trainer.drain()
    job.refresh_from_db()
    if code == "device_lost":  # the next process may have a device
        assert (job.status, job.attempts) == ("queued", 1) and trainer.is_stopping
        assert credits_of(user) == (9_300, 700)
        return
    assert (job.status, job.failure_code, job.attempts) == ("failed", code, attempts)
    assert job.is_quarantined == is_quarantined
    assert credits_of(user) == (10_000, 0)
    assert CustomModel.objects.get().current is None and not version_of(job).is_ready


def test_what_does_not_fit_is_tried_with_half_the_batch(trainer, engine, user):
    job = make_training_job(user, batch_size=4)
    engine.failures = [OutOfMemory("4 at once")]
    trainer.drain()
    assert [asked.batch_size for asked, _ in engine.trainings] == [4, 2]
    assert version_of(job).job.status == "completed" and credits_of(user) == (9_300, 0)


def test_cancel_stops_the_training_at_its_next_step(trainer, engine, user, settings):
    settings.CANCEL_LOOK_SECONDS = 0.01
    job, steps = make_training_job(user, steps=500), []

    def cancel_at_three(number):
        steps.append(number)
        if number == 3:
            services.cancel_job(job)
            (held,), until = trainer._hands.held(), time.monotonic() + 60
            while not trainer._leases.is_lost(held) and time.monotonic() < until:
                time.sleep(0.005)

    engine.before_step = cancel_at_three
    trainer.drain()
    job.refresh_from_db()
    assert job.status == "canceled" and steps == [1, 2, 3]
    assert credits_of(user) == (10_000, 0) and files_of(version_of(job)) == named_by(version_of(job))


def test_a_worker_that_lost_its_training_leaves_nothing_of_its_own(trainer, another, engine, user):
    """The job goes to somebody else between two steps; the first one finds out when it writes."""
    job = make_training_job(user, steps=20)

    def lose(number):
        if number == 9 and len(engine.trainings) == 1:
            while not sweeper.recover_lost_jobs():  # a beat may come in between
                Job.objects.filter(id=job.id).update(lease_until=version_of(job).created_at)

    engine.before_step = lose
    trainer.drain()
    trainer.drain()
    version = version_of(job)
    assert version.job.status == "completed" and [first for _, first in engine.trainings] == [0, 5]
    assert files_of(version) == named_by(version) and version.job.attempts == 2
    assert credits_of(user) == (9_300, 0)


def test_a_store_that_is_away_costs_checkpoints_and_samples_but_not_the_training(trainer, user, monkeypatch):
    real = default_storage.save

    def fail(name, content):
        if "adapter" in name:
            return real(name, content)
        raise OSError("no space left on device")

    job = make_training_job(user)
    monkeypatch.setattr(default_storage, "save", fail)
    trainer.drain()
    version = version_of(job)
    assert (version.job.status, version.samples, version.job.attempts) == ("completed", [], 1)
    assert files_of(version) == {version.adapter_key}


def test_an_adapter_that_cannot_be_stored_is_free_in_the_end(trainer, user, monkeypatch):
    job = make_training_job(user)
    monkeypatch.setattr(default_storage, "save", lambda name, content: (_ for _ in ()).throw(OSError("full")))
    for _ in range(3):
        trainer.drain()
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.attempts) == ("failed", "storage", 3)
    assert credits_of(user) == (10_000, 0) and files_of(version_of(job)) == set()


def test_those_who_watch_see_steps_and_losses(trainer, engine, user, settings):
    settings.PROGRESS_SECONDS = settings.CANCEL_LOOK_SECONDS = 0.005
    job, told = make_training_job(user, steps=6), []
    engine.step_seconds = 0.05
    engine.before_step = lambda number: told.append(events.progress_of(job.id))
    trainer.drain()
    assert told[0].phase == "loading"
    seen = [(progress.phase, progress.steps_done, progress.steps_total) for progress in told[1:]]
    assert ("training", 3, 6) in seen and {phase for phase, _, _ in seen} <= {"training", "loading"}
    assert all(progress.loss == 2.0 ** -(progress.steps_done - 1) for progress in told if progress.phase == "training")


def test_how_long_it_takes_is_told_by_the_steps_of_this_claim(trainer, another, engine, user, settings):
    """A training that goes on from its 15th step of 20 has made none of those before it."""
    settings.PROGRESS_SECONDS = settings.CANCEL_LOOK_SECONDS = 0.005
    job, told = make_training_job(user, steps=20), []
    engine.before_step = lambda number: trainer.ask_to_stop() if number == 17 else None
    trainer.drain()
    engine.step_seconds = 0.2
    engine.before_step = lambda number: told.append(events.progress_of(job.id))
    another.drain()
    left = {progress.steps_done: progress.seconds_left for progress in told if progress.phase == "training"}
    assert version_of(job).job.status == "completed" and min(left) >= 16
    assert all(seconds >= round(0.2 * (20 - done)) for done, seconds in left.items()) and max(left.values()) >= 1


def test_pictures_and_trainings_go_to_those_who_take_them(trainer, worker, user, settings):
    settings.JOB_ATTEMPTS_MAX = 3
    picture, lesson = make_job(user), make_training_job(user)
    assert trainer.drain() == 1
    picture.refresh_from_db(), lesson.refresh_from_db()
    assert (picture.status, lesson.status) == ("queued", "completed")
    again = make_training_job(user)
    assert worker.drain() == 1
    worker.wait_for_post_stage()
    picture.refresh_from_db(), again.refresh_from_db()
    assert (picture.status, again.status) == ("completed", "queued")


def test_waiting_trainings_are_told_why_in_words(user, caplog):
    job, second = make_training_job(user, steps=50), make_training_job(user)
    events.worker_is_here("w", state="idle", models=["starter"])
    sweeper.tell_positions()
    assert events.progress_of(job.id).reason == "No worker that trains Starter is running. Your place is kept."
    events.worker_is_here("t", state="idle", models=["starter"], kinds=TRAININGS)
    events.note_speed(events.training_of("starter"), 0.5)
    sweeper.tell_positions()
    told = events.progress_of(job.id)
    assert (told.reason, told.seconds_left) == ("You are next.", 25)
    transitions.claim(worker="t", models=["starter"], images_max=lambda job: 1, kinds=TRAININGS)
    sweeper.tell_positions()
    assert events.progress_of(second.id).reason == "Your team trains 1 at a time."
    Job.objects.update(created_at=version_of(job).model.submitted_at)
    events.worker_is_gone("t")
    sweeper.tell_positions()
    assert "no_worker_for_model" in caplog.text and "train" in caplog.text


def test_a_training_that_takes_too_long_ends(trainer, engine, user, settings):
    settings.TRAINING_SECONDS_MAX = 0
    job = make_training_job(user)
    engine.before_step = lambda number: time.sleep(0.001)
    trainer.drain()
    job.refresh_from_db()
    assert (job.status, job.failure_code) == ("failed", "training_too_long") and credits_of(user) == (10_000, 0)
