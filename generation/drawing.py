"""One claimed batch on the device: cut into runs it can hold, every step reported, every member on its own feet.

What happens to one member, a cancel, a broken picture, a crash, costs the others nothing but time.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from django.conf import settings

from generation.adapters import AdapterBroken, AdapterGone, Adapters
from generation.batches import Caps, Member, batch_of, halves, runs_of
from generation.engine import BrokenPictures, Canceled, DeviceLost, Engine, Lora, ModelUnavailable, OutOfMemory, Step
from generation.failures import Failure, FailureKind
from generation.leases import Leases
from generation.models import Job
from generation.post import Drawn
from generation.residency import Residency
from generation.storage import StorageFailed
from generation.telling import Teller
from generation.watchdog import Watchdog
from tenkaigen.failpoints import failpoint

if TYPE_CHECKING:
    import numpy as np

logger = structlog.get_logger(__name__)

OUT_OF_MEMORY = Failure("out_of_memory", "The picture does not fit on this device.", FailureKind.OUT_OF_MEMORY)
UNAVAILABLE = Failure("model_unavailable", "This model is not installed on the server.")
CRASHED = Failure("engine", "The picture could not be made.", FailureKind.RETRYABLE)
VERSION_GONE = Failure("version_gone", "The version of your model that this was ordered with is not there any more.")
VERSION_BROKEN = Failure(
    "version_broken", "The file of your model is damaged, so nothing can be drawn with it.", FailureKind.POISON
)
NOT_FETCHED = Failure("storage", "Your model could not be fetched.", FailureKind.OUTAGE)
NO_PICTURE = Failure("no_picture", "The model made no picture this time.", FailureKind.RETRYABLE)


@dataclass(frozen=True, slots=True)
class Device:
    """What drawing needs of the worker it belongs to."""

    engine: Engine
    adapters: Adapters
    caps: Caps
    residency: Residency
    leases: Leases
    watchdog: Watchdog
    stopping: threading.Event


class Drawing:
    """One batch of jobs that share a claim."""

    def __init__(
        self,
        device: Device,
        jobs: list[Job],
        *,
        deliver: Callable[[Drawn], None],
        fail: Callable[[Job, Failure], None],
        on_step: Callable[[float], None],
    ) -> None:
        """`deliver` and `fail` hear of each job as soon as its end is known, `on_step` of the seconds that are left."""
        self._device, self._jobs = device, jobs
        self._deliver, self._fail, self._note_step = deliver, fail, on_step
        self._open: dict[UUID, list[np.ndarray | None]] = {job.id: [] for job in jobs}
        self._teller = Teller(jobs, device.leases)
        self._steps_total = self._steps_before = 0
        self._began = 0.0
        self._adapters: tuple[Lora, ...] = ()

    def run(self) -> None:
        """Draw every picture that is still wanted.

        Raises:
            Canceled: the process stops.
            ModelUnavailable, DeviceLost: no job of the batch can be drawn here.
        """
        with self._teller:
            self._run()

    def _run(self) -> None:
        first = self._jobs[0]
        if failure := self._fetch_adapters(first):
            for job in self._jobs:
                self._close(job)
                self._fail(job, failure)
            return
        self._make_resident(first.model)
        runs = runs_of(self._device.engine, self._jobs, self._device.caps.of(first))
        self._steps_total = first.num_inference_steps * len(runs)
        self._began = time.monotonic()
        for run in runs:
            if wanted := [member for member in run if self._is_wanted(member.job)]:
                began = time.monotonic()
                outcomes = self._draw(wanted)
                seconds = (time.monotonic() - began) / len(wanted)
                for member, outcome in zip(wanted, outcomes, strict=True):
                    self._note(member.job, outcome, seconds)
            self._steps_before += first.num_inference_steps

    def _fetch_adapters(self, first: Job) -> Failure | None:
        """What all jobs of the batch are drawn with. Why that cannot be had, or nothing."""
        try:
            self._adapters = self._device.adapters.of(first)
        except AdapterGone:
            return VERSION_GONE
        except AdapterBroken:
            return VERSION_BROKEN
        except StorageFailed:
            return NOT_FETCHED
        return None

    def _make_resident(self, model: str) -> None:
        if not self._device.engine.is_loaded(model):
            self._teller.tell("loading", 0, 0)
            self._device.leases.allow(self._jobs, settings.LOAD_SECONDS_MAX)
        with self._device.watchdog.watching(f"loading {model}", settings.LOAD_SECONDS_MAX):
            self._device.residency.use(model)

    def _is_wanted(self, job: Job) -> bool:
        return job.id in self._open and not self._device.leases.is_lost(job)

    def _draw(self, run: Sequence[Member]) -> "list[np.ndarray | Failure | None]":
        """What became of each member. A run that does not fit is cut once, one that crashes is drawn one by one."""
        try:
            return self._once(run)
        except OutOfMemory:
            is_smaller = len(run) > 1
            is_roomier = self._device.residency.evict_others(run[0].job.model)
            if not is_smaller and not is_roomier:
                return [replace(OUT_OF_MEMORY, images=len(run))]
            parts = halves(run)
            if is_smaller:
                self._device.caps.lower(run[0].job, len(parts[0]))
            return self._in_parts(parts)
        except (Canceled, ModelUnavailable, DeviceLost):
            raise
        except Exception:
            logger.exception("engine_failed", members=len(run))
            return [CRASHED] if len(run) == 1 else self._in_parts([(member,) for member in run])

    def _in_parts(self, parts: Sequence[Sequence[Member]]) -> "list[np.ndarray | Failure | None]":
        outcomes: list[np.ndarray | Failure | None] = []
        for part in parts:
            try:
                outcomes += self._once(part)
            except OutOfMemory:
                outcomes += [replace(OUT_OF_MEMORY, images=len(part))] * len(part)
            except (Canceled, ModelUnavailable, DeviceLost):
                raise
            except Exception:
                logger.exception("engine_failed", members=len(part))
                outcomes += [CRASHED] * len(part)
        return outcomes

    def _once(self, run: Sequence[Member]) -> "list[np.ndarray | Failure | None]":
        with self._device.watchdog.watching("drawing", settings.HANG_SECONDS):
            try:
                return [*self._device.engine.generate(batch_of(run, self._adapters), partial(self._on_step, run))]
            except BrokenPictures as error:
                return [*error.pictures]
            except Canceled:
                if self._device.stopping.is_set():
                    raise
                return [None] * len(run)  # nobody wants any of them; `_note` drops what comes

    def _note(self, job: Job, outcome: "np.ndarray | Failure | None", seconds: float) -> None:
        if not self._is_wanted(job):
            return
        if isinstance(outcome, Failure):
            self._close(job)
            self._fail(job, outcome)
            return
        pictures = self._open[job.id]
        pictures.append(outcome)
        if len(pictures) < job.count:
            return
        self._close(job)
        if all(picture is None for picture in pictures):
            self._fail(job, NO_PICTURE)
        else:
            now = time.monotonic()
            self._deliver(Drawn(job, pictures, round((now - self._began) * 1000), seconds, now))

    def _close(self, job: Job) -> None:
        self._teller.close(job)
        del self._open[job.id]

    def _on_step(self, run: Sequence[Member], step: Step) -> None:
        failpoint("draw.step")
        self._device.watchdog.pet()
        done = self._steps_before + step.done
        self._teller.note_step(step, run, done, self._steps_total)
        self._note_step((time.monotonic() - self._began) / done * max(0, self._steps_total - done))
        if self._device.stopping.is_set() or not any(self._is_wanted(member.job) for member in run):
            raise Canceled
