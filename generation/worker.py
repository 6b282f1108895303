"""From a claim to pixels: what one device's process does. The post stage takes over from there."""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from django.conf import settings

from generation import events, transitions
from generation.encode import encode_rough
from generation.engine import Batch, Canceled, Engine, ImageRequest, ModelUnavailable, OutOfMemory, Step, catalog
from generation.leases import Leases
from generation.models import Job
from generation.post import Delivery, Poster, report_failure
from generation.transitions import Failure
from tenkaigen import alarms
from tenkaigen.failpoints import failpoint

if TYPE_CHECKING:
    import numpy as np

logger = structlog.get_logger(__name__)

OUT_OF_MEMORY = Failure("out_of_memory", "The picture does not fit on this device.", True)
UNAVAILABLE = Failure("model_unavailable", "This model is not installed on the server.", False)
CRASHED = Failure("engine", "The picture could not be made.", True)
STOP_SECONDS = 20.0


class Worker:
    """One device's share of the queue. `drain` may be called from any thread; one call works at a time."""

    def __init__(self, engine: Engine, *, models: Collection[str]) -> None:
        self.name = f"{socket.gethostname()}:{engine.device}:{os.getpid()}"
        self.models = list(models)
        self._engine = engine
        self._revisions: dict[str, str] = {}
        self._state = "loading"
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._leases = Leases(on_beat=self._say_hello)
        self._poster = Poster(self._leases)

    def start(self) -> None:
        """Load the models, then be ready to claim.

        Raises:
            ModelUnavailable: a model is not installed, or its files are not what `models.lock` says.
        """
        self._leases.start()
        self._poster.start()
        for model in self.models:
            self._revisions[model] = self._engine.load(model).revision
        self._rest()

    def stop(self) -> None:
        """Stop claiming, hand back what is being drawn, deliver what is drawn."""
        self._stopping.set()
        with self._turn:
            self._poster.stop(STOP_SECONDS)
            self._leases.stop()
            events.worker_is_gone(self.name)

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def ask_to_stop(self) -> None:
        """Let the current step be the last one. Returns at once."""
        self._stopping.set()

    def drain(self) -> int:
        """Make what is queued until nothing is, or `DRAIN_SECONDS_MAX` have passed. How many jobs were drawn."""
        if not self._turn.acquire(blocking=False):
            return 0  # the call that has the turn will find the job
        try:
            return self._drain()
        finally:
            self._rest()
            self._turn.release()

    def wait_for_post_stage(self) -> None:
        self._poster.wait()

    def _drain(self) -> int:
        drawn, until = 0, time.monotonic() + settings.DRAIN_SECONDS_MAX
        while not self._stopping.is_set() and time.monotonic() < until:
            jobs = transitions.claim(worker=self.name, models=self.models, images_max=lambda job: self._images_max())
            if not jobs:
                break
            failpoint("claim.after_commit")
            self._state = "busy"
            self._make(jobs)
            drawn += len(jobs)
        return drawn

    def _images_max(self) -> int:
        return max(max(catalog.get(model).batch_caps.values(), default=1) for model in self.models)

    def _make(self, jobs: list[Job]) -> None:
        self._leases.add(jobs)
        with structlog.contextvars.bound_contextvars(job_ids=[str(job.id) for job in jobs]):
            try:
                Drawing(self._engine, self._leases, jobs, self._stopping).run(self._hand_over)
            except Canceled:
                self._hand_back(jobs)
            except OutOfMemory:
                self._fail(jobs, OUT_OF_MEMORY)
            except ModelUnavailable as error:
                alarms.ring("model_unavailable", worker=self.name, reason=str(error))
                self._fail(jobs, UNAVAILABLE)
            except Exception:
                logger.exception("engine_failed")
                self._fail(jobs, CRASHED)

    def _hand_over(self, job: Job, pictures: "list[np.ndarray]", device_ms: int) -> None:
        failpoint("draw.done")
        transitions.note_device_done(job, device_ms=device_ms, model_revision=self._revisions.get(job.model, ""))
        events.publish(
            [job.id], events.Progress(job.status, "storing", job.num_inference_steps, job.num_inference_steps)
        )
        events.note_speed(job.model, device_ms / 1000 / job.count)
        self._poster.put(Delivery(job, pictures))

    def _hand_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            if not self._leases.is_lost(job) and transitions.release(job):
                events.forget([job.id])
                logger.info("job_handed_back", job_id=str(job.id))
            self._leases.drop(job)

    def _fail(self, jobs: list[Job], failure: Failure) -> None:
        for job in jobs:
            report_failure(job, failure)
            self._leases.drop(job)

    def _rest(self) -> None:
        self._state = "idle"
        self._say_hello()

    def _say_hello(self) -> None:
        events.worker_is_here(self.name, state=self._state, models=self.models)


class Drawing:
    """One batch of jobs on the device: splits it into runs the device can hold, and reports every step."""

    def __init__(self, engine: Engine, leases: Leases, jobs: list[Job], stopping: threading.Event) -> None:
        self._engine, self._leases, self._jobs, self._stopping = engine, leases, jobs, stopping
        self._model = jobs[0].model
        self._cap = catalog.get(self._model).batch_cap(jobs[0].width, jobs[0].height)
        images = sum(job.count for job in jobs)
        self._steps_total = jobs[0].num_inference_steps * -(-images // self._cap)
        self._steps_before = 0
        self._told_at = 0.0

    def run(self, hand_over: "Callable[[Job, list[np.ndarray], int], None]") -> None:
        """Draw every picture; hand each job over as soon as its last one is there.

        Raises:
            Canceled: the process stops, or none of the jobs is wanted any more.
            EngineError: as `Engine.generate`.
        """
        if not self._engine.is_loaded(self._model):
            self._tell("loading", 0)
        began = time.monotonic()
        pictures: dict[UUID, list[np.ndarray]] = {job.id: [] for job in self._jobs}
        requests = iter([(job, place) for job in self._jobs for place in range(job.count)])
        while chunk := list(islice(self._wanted(requests), self._cap)):
            drawn = self._engine.generate(self._batch(chunk), partial(self._on_step, chunk))
            self._steps_before += chunk[0][0].num_inference_steps
            for (job, _), pixels in zip(chunk, drawn, strict=True):
                pictures[job.id].append(pixels)
                if len(pictures[job.id]) == job.count:
                    hand_over(job, pictures.pop(job.id), round((time.monotonic() - began) * 1000))
        if any(job.id in pictures for job in self._jobs):
            raise Canceled  # of those that are left, none is ours any more

    def _wanted(self, requests: Iterator[tuple[Job, int]]) -> Iterator[tuple[Job, int]]:
        return ((job, place) for job, place in requests if not self._leases.is_lost(job))

    def _batch(self, chunk: list[tuple[Job, int]]) -> Batch:
        first = chunk[0][0]
        return Batch(
            model=self._model,
            width=first.width,
            height=first.height,
            num_inference_steps=first.num_inference_steps,
            guidance_scale=first.guidance_scale,
            requests=tuple(
                ImageRequest(job.expanded_prompt, job.negative_prompt, job.seed + place) for job, place in chunk
            ),
        )

    def _on_step(self, chunk: list[tuple[Job, int]], step: Step) -> None:
        failpoint("draw.step")
        self._leases.note_progress(self._jobs)
        now, is_last = time.monotonic(), step.done == step.total
        if now - self._told_at >= settings.PROGRESS_SECONDS or is_last:
            self._told_at = now
            self._leases.note_lost(events.canceled_among(job.id for job in self._jobs))
            self._tell("drawing", self._steps_before + step.done, step, chunk)
        if self._stopping.is_set() or all(self._leases.is_lost(job) for job, _ in chunk):
            raise Canceled

    def _tell(
        self, phase: str, steps_done: int, step: Step | None = None, chunk: list[tuple[Job, int]] | None = None
    ) -> None:
        roughs: dict[UUID, bytes] = {}
        if step and chunk:
            for (job, _), pixels in zip(chunk, step.preview(), strict=True):
                roughs.setdefault(job.id, encode_rough(pixels))
        ids = [job.id for job in self._jobs if job.id in roughs] or [job.id for job in self._jobs]
        progress = events.Progress(
            Job.Status.PROCESSING, phase, steps_done, self._steps_total, has_preview=bool(roughs)
        )
        events.publish(ids, progress, [roughs[job_id] for job_id in ids if job_id in roughs])
