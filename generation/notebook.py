"""What a training leaves while it runs: its losses, its checkpoints, its sample pictures. The rows and the files.

Files are written before the row that names them, and deleted where the row is no longer ours to write. A store or a
database that is away for a moment costs a checkpoint, not the training.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from django.db import DatabaseError, close_old_connections

from generation import storage, transitions
from generation.encode import encode_preview
from generation.models import Job, ModelVersion
from tenkaigen.failpoints import failpoint

if TYPE_CHECKING:
    import numpy as np

logger = structlog.get_logger(__name__)
POINTS_MAX = 200  # of a loss curve
NOTE_SECONDS = 2.0  # between two looks that somebody could take at a growing curve


class Notebook:
    """Of one claim of one training. `version.model` is read. One thread at a time."""

    def __init__(self, job: Job, version: ModelVersion) -> None:
        self._job, self._version = job, version
        self._each = math.ceil(job.num_inference_steps / POINTS_MAX)
        self._since: list[float] = []
        self._noted_at = time.monotonic()
        self.points = [point for point in version.losses if point[0] <= version.steps_done]
        self.is_lost = False  # somebody else has the job, or nobody wants it

    def checkpoint(self) -> bytes:
        """Where an earlier claim came to; empty where it came nowhere, or what it left is not what it wrote.

        Raises:
            StorageFailed: the store does not answer.
        """
        version = self._version
        if not version.checkpoint_key:
            return b""
        try:
            content = storage.fetch(version.checkpoint_key)
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() == version.checkpoint_sha256:
            return content
        logger.warning("checkpoint_not_usable", version=str(version.pk), step=version.steps_done)
        self.begin_again()
        return b""

    def begin_again(self) -> None:
        """Forget the checkpoint: the training begins at its first step."""
        key, self.points = self._version.checkpoint_key, []
        if self._note(steps_done=0, checkpoint_key="", checkpoint_sha256="", losses=[]) and key:
            storage.delete([key])

    def note_loss(self, step: int, loss: float) -> float | None:
        """Keep a step's loss. The newest mean there is, for those who watch."""
        self._since.append(loss)
        if step % self._each == 0 or step == self._job.num_inference_steps:
            mean = sum(self._since) / len(self._since)
            self._since = []
            if math.isfinite(mean):  # no number of JSON otherwise; the engine says what follows
                self.points.append([step, round(mean, 6)])
            if time.monotonic() - self._noted_at >= NOTE_SECONDS:
                self._note()
        return float(self.points[-1][1]) if self.points else None

    def keep_checkpoint(self, step: int, checkpoint: bytes) -> None:
        """Store what a later claim can go on from, instead of the one before."""
        key = self._key(f"checkpoint-{step}.safetensors")
        failpoint("train.before_checkpoint")
        if not self._put(key, checkpoint):
            return
        failpoint("train.after_checkpoint_put")
        before, digest = self._version.checkpoint_key, hashlib.sha256(checkpoint).hexdigest()
        if self._note(steps_done=step, checkpoint_key=key, checkpoint_sha256=digest):
            failpoint("train.after_checkpoint")
            storage.delete([before] if before else [])
        elif self.is_lost:
            storage.delete([key])

    def keep_samples(self, step: int, pictures: "Sequence[np.ndarray]") -> None:
        """Store the sample pictures of a step, instead of those that a lost claim drew there."""
        asked = self._version.settings["samples"]
        keys = [self._key(f"sample-{step}-{number}.webp") for number in range(len(pictures))]
        for key, pixels in zip(keys, pictures, strict=True):
            if not self._put(key, encode_preview(pixels)):
                storage.delete(keys)
                return
            failpoint("train.after_sample_put")
        drawn = [{"step": step, **sample, "key": key} for sample, key in zip(asked, keys, strict=False)]
        replaced = [sample["key"] for sample in self._version.samples if sample["step"] == step]
        others = [sample for sample in self._version.samples if sample["step"] != step]
        if self._note(samples=sorted([*others, *drawn], key=lambda sample: sample["step"])):
            storage.delete(replaced)
        elif self.is_lost:
            storage.delete(keys)

    def _key(self, name: str) -> str:
        return storage.version_key(self._version, self._job.fence, name)

    def _put(self, key: str, content: bytes) -> bool:
        try:
            storage.put(key, content)
        except storage.StorageFailed:
            logger.warning("training_goes_on_without", key=key)
            storage.delete([key])  # a store may keep a file and still report an error
            return False
        return True

    def _note(self, **columns: object) -> bool:
        """Whether the row has it. Where the database is away nobody knows; files of that moment are the sweep's."""
        columns["losses"] = self.points
        try:
            close_old_connections()
            is_ours = transitions.note_training(self._job, **columns)
        except DatabaseError as error:
            logger.warning("training_not_noted", error=type(error).__name__)
            return False
        self._noted_at, self.is_lost = time.monotonic(), not is_ours
        for name, value in columns.items():
            setattr(self._version, name, value if is_ours else getattr(self._version, name))
        return is_ours
