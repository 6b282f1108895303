"""One training on the device: its pictures fetched, every step told, its checkpoints kept, its adapter delivered.

A claim goes on where the last checkpoint is. Whatever ends it early leaves that checkpoint for the next one.
"""

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import DatabaseError

from generation import adapters, events, storage, transitions, versions
from generation.drawing import Device
from generation.engine import (
    Canceled,
    DeviceLost,
    EngineError,
    Example,
    LossDiverged,
    ModelUnavailable,
    OutOfMemory,
    Sample,
    TooFewPictures,
    Trained,
    Training,
)
from generation.failures import Failure, FailureKind
from generation.models import Job, ModelVersion
from generation.notebook import Notebook
from generation.post import report_failure, surely
from generation.telling import Teller
from tenkaigen.errors import Busy
from tenkaigen.failpoints import failpoint

if TYPE_CHECKING:
    import numpy as np

logger = structlog.get_logger(__name__)

TOO_FEW = Failure("too_few_pictures", "Too few of the pictures can be learned from. Add others and try again.")
DIVERGED = Failure(
    "loss_diverged", "The training ran away from the pictures. Try fewer steps, or pictures that are more alike."
)
TOO_LARGE = Failure("out_of_memory", "The training does not fit on this device.", FailureKind.OUT_OF_MEMORY)
TOO_LONG = Failure("training_too_long", "The training took longer than it may.", FailureKind.POISON)
UNTEACHABLE = Failure("training", "The model could not be trained.", FailureKind.POISON)
BEGIN_AGAIN = Failure("training", "The training has to begin again.", FailureKind.RETRYABLE)
CRASHED = Failure("training", "The training could not be done.", FailureKind.RETRYABLE)
PARENT_GONE = Failure("version_gone", "The version that this training starts from is not there any more.")
NOT_STORED = Failure("storage", "The files of this training could not be reached.", FailureKind.OUTAGE)
NOT_FINISHED = Failure("post", "The model was trained but could not be delivered.", FailureKind.RETRYABLE)
# The first that fits. What is not here, or is one of these, belongs to the worker.
OUTCOMES: tuple[tuple[type[Exception], Failure], ...] = (
    (TooFewPictures, TOO_FEW),
    (LossDiverged, DIVERGED),
    (adapters.AdapterGone, PARENT_GONE),
    (adapters.AdapterBroken, PARENT_GONE),
    (storage.StorageFailed, NOT_STORED),
    (TimeoutError, TOO_LONG),
)


class Lesson:
    """One claim of one training."""

    def __init__(
        self,
        device: Device,
        job: Job,
        *,
        take: Callable[[Job], bool],
        fail: Callable[[Job, Failure], None],
    ) -> None:
        """`take` says whether the job is still here and from then on nobody gives it back; `fail` ends it."""
        self._device, self._job = device, job
        self._take, self._fail = take, fail
        self._teller = Teller([job], device.leases)
        self._notes: Notebook | None = None
        self._batch_size, self._first_step, self._is_resumed = 1, 0, False
        self._until = self._began = time.monotonic()

    def run(self) -> None:
        """Train, and deliver or say why not.

        Raises:
            Canceled: the process stops.
            ModelUnavailable, DeviceLost: nothing can be trained here.
        """
        try:
            with self._teller:
                version = ModelVersion.objects.select_related("model", "parent").get(job_id=self._job.id)
                self._notes = Notebook(self._job, version)
                trained = self._train(version, self._notes)
                self._teller.close(self._job)
        except Canceled:
            if self._device.stopping.is_set():
                raise  # else nobody wants it, or somebody else has it
        except (ModelUnavailable, DeviceLost):
            raise
        except OutOfMemory:
            self._give_up(self._smaller())
        except Exception as error:
            self._give_up(self._failure_of(error))
        else:
            failpoint("train.done")
            self._deliver(version, self._notes, trained)

    def _train(self, version: ModelVersion, notes: Notebook) -> Trained:
        with _folder(self._job) as folder:
            training = self._training(version, folder)
            resume = notes.checkpoint()
            self._is_resumed, self._batch_size = bool(resume), training.batch_size
            self._first_step = version.steps_done if resume else 0
            self._make_resident()
            failpoint("train.begin")
            self._began = time.monotonic()
            self._until = self._began + settings.TRAINING_SECONDS_MAX
            self._move()
            with self._device.watchdog.watching("training", settings.TRAINING_HANG_SECONDS):
                return self._device.engine.train(training, self, resume=resume)

    def _training(self, version: ModelVersion, folder: Path) -> Training:
        self._teller.tell("fetching", 0, 0)
        asked, job = version.settings, self._job
        parent = str(self._device.adapters.path_of(version.parent)) if version.parent else ""
        self._move()
        return Training(
            model=job.model,
            examples=tuple(self._examples(version, folder)),
            steps=job.num_inference_steps,
            resolution=asked["resolution"],
            batch_size=min(asked["batch_size"], job.batch_max or asked["batch_size"]),
            rank=asked["rank"],
            learning_rate=asked["learning_rate"],
            seed=asked["seed"],
            train_text_encoder=asked["train_text_encoder"],
            trigger_word=version.model.trigger_word,
            parent=parent,
            checkpoint_every=settings.TRAINING_CHECKPOINT_STEPS,
            sample_every=settings.TRAINING_SAMPLE_STEPS,
            samples=tuple(Sample(sample["prompt"], sample["seed"]) for sample in asked["samples"]),
        )

    def _examples(self, version: ModelVersion, folder: Path) -> Iterator[Example]:
        pictures = version.model.pictures.filter(created_at__lte=version.created_at).order_by("position", "id")
        for number, picture in enumerate(pictures):
            try:
                content = storage.fetch(picture.key)
            except FileNotFoundError:
                content = b""
            self._move()
            if hashlib.sha256(content).hexdigest() != picture.sha256:
                logger.warning("training_picture_missing", picture=str(picture.pk))
                continue  # the engine says when too few are left
            path = folder / f"{number}.png"
            path.write_bytes(content)
            yield Example(str(path), caption_of(picture.caption, version.model.trigger_word))

    def _make_resident(self) -> None:
        self._teller.tell("loading", 0, 0)
        self._device.leases.allow([self._job], settings.LOAD_SECONDS_MAX)
        with self._device.watchdog.watching(f"loading {self._job.model}", settings.LOAD_SECONDS_MAX):
            self._device.residency.use(self._job.model)

    # --- What the engine tells --------------------------------------------------------------------------------------
    def on_step(self, step: int, loss: float) -> None:
        """See `Watcher`."""
        failpoint("train.step")
        assert self._notes is not None
        self._move()
        if step > self._first_step:
            mean = self._notes.note_loss(step, loss)
            self._teller.note_training(step, self._job.num_inference_steps, mean, self._seconds_left(step))
        if self._device.stopping.is_set() or self._notes.is_lost or self._device.leases.is_lost(self._job):
            raise Canceled
        if time.monotonic() > self._until:
            raise TimeoutError

    def _seconds_left(self, step: int) -> int:
        """By the pace of this claim alone: what an earlier one did took this one no time."""
        each = (time.monotonic() - self._began) / (step - self._first_step)
        return round(each * (self._job.num_inference_steps - step))

    def on_checkpoint(self, step: int, checkpoint: bytes) -> None:
        """See `Watcher`."""
        assert self._notes is not None
        self._notes.keep_checkpoint(step, checkpoint)
        self._move()

    def on_samples(self, step: int, pictures: "list[np.ndarray]") -> None:
        """See `Watcher`."""
        assert self._notes is not None
        self._move()  # drawing them took its time
        self._notes.keep_samples(step, pictures)
        self._move()

    def _move(self) -> None:
        self._device.watchdog.pet()
        self._device.leases.note_progress([self._job])

    # --- Its end ----------------------------------------------------------------------------------------------------
    def _deliver(self, version: ModelVersion, notes: Notebook, trained: Trained) -> None:
        if not self._take(self._job):
            return
        seconds = time.monotonic() - self._began
        checkpoint, key = version.checkpoint_key, storage.version_key(version, self._job.fence, "adapter.safetensors")
        digest = hashlib.sha256(trained.adapter).hexdigest()
        adapter = versions.Adapter(key, digest, len(trained.adapter), trained.base_revision)
        try:
            self._note_device_done(trained, seconds)
            storage.put(key, trained.adapter)
            self._move()
            failpoint("train.before_finish")
            if surely(self._job, lambda: transitions.finish_training(self._job, adapter, notes.points)):
                failpoint("train.after_commit")
                events.publish([self._job.id], events.Progress(status=Job.Status.COMPLETED))
                storage.delete([checkpoint] if checkpoint else [])
                logger.info("model_trained", seconds=round(seconds), bytes=adapter.bytes)
            else:
                logger.warning("late_delivery_dropped")
                storage.delete([key])
                events.forget([self._job.id])
        except storage.StorageFailed:
            self._give_back_the_credits(key, NOT_STORED)
        except (Busy, DatabaseError):
            logger.exception("training_not_finished")
            self._give_back_the_credits("", NOT_FINISHED)  # nobody knows whether a row names the file
        finally:
            self._device.leases.drop(self._job)

    def _note_device_done(self, trained: Trained, seconds: float) -> None:
        steps = self._job.num_inference_steps - self._first_step
        events.note_speed(events.training_of(self._job.model), seconds / max(1, steps))
        transitions.note_device_done(self._job, device_ms=round(seconds * 1000), model_revision=trained.base_revision)

    def _give_back_the_credits(self, key: str, failure: Failure) -> None:
        storage.delete([key] if key else [])
        report_failure(self._job, failure)

    def _give_up(self, failure: Failure) -> None:
        self._teller.close(self._job)
        self._fail(self._job, failure)

    def _smaller(self) -> Failure:
        """What follows a training that did not fit: once more with half the batch, or with the device to itself."""
        is_roomier = self._device.residency.evict_others(self._job.model)
        if self._notes is not None:
            self._notes.begin_again()  # with another batch it is another training
        is_final = self._batch_size == 1 and not is_roomier
        return replace(TOO_LARGE, images=self._batch_size, kind=FailureKind.POISON if is_final else TOO_LARGE.kind)

    def _failure_of(self, error: Exception) -> Failure:
        for kind, failure in OUTCOMES:
            if isinstance(error, kind):
                return failure
        logger.error("training_failed", exc_info=error)
        if not isinstance(error, (EngineError, ValueError)):
            return CRASHED
        if self._is_resumed and self._notes is not None:  # its checkpoint may be the reason
            self._notes.begin_again()
            return BEGIN_AGAIN
        return UNTEACHABLE


def caption_of(caption: str, trigger_word: str) -> str:
    """The words that go with a picture, the trigger word among them."""
    if re.search(rf"\b{re.escape(trigger_word)}\b", caption, re.IGNORECASE):
        return caption
    return f"{trigger_word}, {caption}" if caption else trigger_word


@contextmanager
def _folder(job: Job) -> Iterator[Path]:
    """A folder for people's pictures that nobody else reads, gone when the block ends; after a kill, later."""
    root = settings.TRAINING_DIR
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    long_ago = time.time() - settings.LOAD_SECONDS_MAX - settings.TRAINING_SECONDS_MAX
    for left in root.iterdir():
        with suppress(FileNotFoundError):  # another trainer was quicker
            if left.stat().st_mtime < long_ago:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{job.id}-", dir=root) as folder:
        yield Path(folder)
