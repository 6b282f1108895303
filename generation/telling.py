"""What watchers hear of a batch while it is drawn, and what the device hears of them: in a thread beside the device.

A step of a fast model takes a few milliseconds, and no device should wait for Redis or for a rough picture.
"""

import threading
import time
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog
from django.conf import settings

from generation import events
from generation.batches import Member
from generation.encode import encode_rough
from generation.engine import Step
from generation.leases import Leases
from generation.models import Job

logger = structlog.get_logger(__name__)


class Teller:
    """Tells of one batch, at most every `PROGRESS_SECONDS`; looks for cancels every `CANCEL_LOOK_SECONDS`."""

    def __init__(self, jobs: Sequence[Job], leases: Leases) -> None:
        self._jobs, self._leases = list(jobs), leases
        self._open = {job.id for job in jobs}
        self._latest: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="teller", daemon=True)

    def __enter__(self) -> "Teller":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        with self._lock:  # nothing of ours may arrive after what others say of these jobs
            self._open.clear()

    def note_step(self, step: Step, run: Sequence[Member], done: int, total: int) -> None:
        """Remember the newest step. Costs the caller nothing."""
        self._latest = lambda: self._tell_step(step, run, done, total)

    def note_training(self, done: int, total: int, loss: float | None, seconds_left: int) -> None:
        """As `note_step`, of a training."""
        self._latest = lambda: self.tell("training", done, total, loss=loss, seconds_left=seconds_left)

    def tell(
        self,
        phase: str,
        done: int,
        total: int,
        roughs: dict[UUID, bytes] | None = None,
        *,
        loss: float | None = None,
        seconds_left: int | None = None,
    ) -> None:
        """Tell the watchers of all open jobs, or of those that have a rough picture."""
        roughs = roughs or {}
        with self._lock:
            told = [job for job in self._jobs if self._is_open(job) and (job.id in roughs or not roughs)]
            progress = events.Progress(
                Job.Status.PROCESSING, phase, done, total, bool(roughs), loss=loss, seconds_left=seconds_left
            )
            events.publish([job.id for job in told], progress, [roughs[job.id] for job in told if job.id in roughs])
        # Given back or canceled while we spoke: then the database knows better.
        events.forget(job.id for job in told if self._leases.is_lost(job))

    def close(self, job: Job) -> None:
        """Say no more of this job; from here on others do."""
        with self._lock:
            self._open.discard(job.id)

    def _is_open(self, job: Job) -> bool:
        return job.id in self._open and not self._leases.is_lost(job)

    def _work(self) -> None:
        told_at = 0.0
        while not self._over.is_set():
            try:
                self._leases.note_lost(events.canceled_among(job.id for job in self._jobs))
                latest = self._latest
                if latest and time.monotonic() - told_at >= settings.PROGRESS_SECONDS:
                    told_at, self._latest = time.monotonic(), None
                    latest()
            except Exception:  # a rough picture that cannot be made must not end the cancels
                logger.exception("telling_failed")
            self._over.wait(settings.CANCEL_LOOK_SECONDS)

    def _tell_step(self, step: Step, run: Sequence[Member], done: int, total: int) -> None:
        roughs: dict[UUID, bytes] = {}
        for member, pixels in zip(run, step.preview(), strict=True):
            if member.job.id not in roughs:
                roughs[member.job.id] = encode_rough(pixels)
        self.tell("drawing", done, total, roughs)
