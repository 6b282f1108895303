"""From a claim to pixels: what one device's process does. The post stage takes over from there."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from functools import partial

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from generation import events, nodes, transitions
from generation.adapters import Adapters
from generation.ahead import Ahead
from generation.batches import Caps, batch_of, runs_of
from generation.drawing import CRASHED, OUT_OF_MEMORY, UNAVAILABLE, Device, Drawing
from generation.engine import Canceled, DeviceLost, Engine, LoadedModel, ModelUnavailable, OutOfMemory
from generation.failures import Failure, FailureKind
from generation.hands import Hands
from generation.leases import Leases
from generation.models import Job, Node
from generation.post import Delivery, Drawn, Poster, report_failure
from generation.residency import Residency
from generation.training import Lesson
from generation.watchdog import Watchdog
from tenkaigen import alarms
from tenkaigen.failpoints import failpoint

logger = structlog.get_logger(__name__)

HUNG = Failure("device_hung", "The device stopped answering.", FailureKind.RETRYABLE)
LOST = Failure("device_lost", "The device failed.", FailureKind.RETRYABLE)
STOP_SECONDS = 20.0
HANG_POST_SECONDS = 5.0


def quit_process() -> None:
    """Ask this process to end as its supervisor would."""
    os.kill(os.getpid(), signal.SIGTERM)


class Worker:
    """One device's share of the queue. `drain` may be called from any thread; one call works at a time."""

    def __init__(
        self,
        engine: Engine,
        *,
        models: Collection[str],
        kinds: Collection[str] = (Job.Kind.IMAGE,),
        watchdog: Callable[[Callable[[str], None]], Watchdog] = Watchdog,
        leave: Callable[[], None] = quit_process,
    ) -> None:
        """`leave` is called when the device is of no more use to this process, and returns."""
        self.name = f"{socket.gethostname()}:{engine.device}:{os.getpid()}"
        self.models, self.kinds = list(models), list(kinds)
        self._engine, self._leave = engine, leave
        self._revisions: dict[str, str] = {}
        self._state = Node.State.LOADING
        self._turn, self._claiming = threading.Lock(), threading.Lock()
        self._drawing: list[Job] = []
        self._drain_until = 0.0
        self._meter = nodes.Meter()
        self._leases = Leases(on_beat=self._beat)
        self._hands = Hands(self._leases)
        self._poster = Poster(self._leases)
        self._ahead = Ahead(self._claim, self._prepare)
        self._device = Device(
            engine=engine,
            adapters=Adapters(),
            caps=Caps(engine),
            residency=Residency(engine, self.models, on_loading=self._note_loading, on_load=self._note_loaded),
            leases=self._leases,
            watchdog=watchdog(self._note_hang),
            stopping=threading.Event(),
        )
        self._leaver = threading.Thread(target=self._give_back_when_asked, name="leaver", daemon=True)

    def start(self) -> None:
        """Load the models that fit, or none where no pictures are drawn, then be ready to claim.

        Raises:
            ModelUnavailable: a model is not installed, or its files are not what `models.lock` says.
        """
        self._leases.start()
        self._poster.start()
        self._device.watchdog.start()
        self._leaver.start()
        if Job.Kind.IMAGE in self.kinds:
            with self._device.watchdog.watching("loading", settings.LOAD_SECONDS_MAX * len(self.models)):
                self._device.residency.start()
        self._rest()

    def warm_up(self, seconds_max: float) -> None:
        """Draw one picture with each resident model, and measure what batches are worth where nobody has."""
        until = time.monotonic() + seconds_max
        for loaded in self._engine.resident():
            with self._device.watchdog.watching(f"warming up {loaded.name}", settings.LOAD_SECONDS_MAX):
                self._device.caps.warm_up(loaded.name)
                self._device.caps.measure(loaded, until)

    def stop(self) -> None:
        """Stop claiming, hand back what is not drawn, deliver what is. A few times `STOP_SECONDS` at most."""
        self.ask_to_stop()
        has_turn = self._turn.acquire(timeout=STOP_SECONDS)
        self._leaver.join(timeout=STOP_SECONDS)
        self._ahead.stop()
        self._poster.stop(STOP_SECONDS)
        self._device.watchdog.stop()
        self._leases.stop()
        self._say_goodbye()
        if has_turn:
            self._turn.release()

    @property
    def is_stopping(self) -> bool:
        return self._device.stopping.is_set()

    def ask_to_stop(self) -> None:
        """Give back what is not drawn yet, and let the current step be the last one. Returns at once."""
        self._device.stopping.set()

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

    # --- Claiming ---------------------------------------------------------------------------------------------------
    def _drain(self) -> int:
        drawn, self._drain_until = 0, time.monotonic() + settings.DRAIN_SECONDS_MAX
        while jobs := self._next():
            self._make(jobs)
            drawn += len(jobs)
        if Job.Kind.IMAGE not in self.kinds:
            self._device.residency.evict_others("")  # who draws on the same device wants the memory
        return drawn

    def _next(self) -> list[Job]:
        with self._device.watchdog.watching("preparing", settings.STALL_SECONDS):
            jobs = self._ahead.take()  # drawn even when the time is up: nobody else may
        if self.is_stopping:
            self._give_back(jobs)
            return []
        return jobs or ([] if self._is_time_up() else self._claim())

    def _is_time_up(self) -> bool:
        return self.is_stopping or time.monotonic() >= self._drain_until

    def _claim(self) -> list[Job]:
        claim = partial(transitions.claim, worker=self.name, images_max=self._device.caps.of, kinds=self.kinds)
        with self._claiming:
            for models in self._device.residency.choices():
                if self.is_stopping:
                    break
                if jobs := claim(models=models):
                    failpoint("claim.after_commit")
                    self._hands.take(jobs)
                    return jobs
        return []

    def _note_step(self, seconds_left: float) -> None:
        self._leases.note_progress(self._hands.held())  # the ones claimed ahead move, too
        if seconds_left <= settings.CLAIM_AHEAD_SECONDS and not self._is_time_up():
            self._ahead.ask()

    def _prepare(self, jobs: list[Job]) -> None:
        events.publish([job.id for job in jobs], events.Progress(Job.Status.PROCESSING, "next"))
        if jobs[0].kind == Job.Kind.IMAGE:
            adapters = self._device.adapters.of(jobs[0])  # fetched now, found again when it is drawn
            first_run = runs_of(self._engine, jobs, self._device.caps.of(jobs[0]))[0]
            self._engine.prepare(batch_of(first_run, adapters))

    # --- Drawing ----------------------------------------------------------------------------------------------------
    def _make(self, jobs: list[Job]) -> None:
        self._state, self._drawing = Node.State.BUSY, jobs
        self._meter.begin()
        with structlog.contextvars.bound_contextvars(job_ids=[str(job.id) for job in jobs]):
            try:
                self._draw(jobs)
            except Canceled:
                logger.info("drawing_stopped")
            except OutOfMemory:
                self._fail_all(jobs, OUT_OF_MEMORY)
            except ModelUnavailable as error:
                alarms.ring("model_unavailable", worker=self.name, reason=str(error))
                self._fail_all(jobs, UNAVAILABLE)
            except DeviceLost:
                alarms.ring("device_lost", worker=self.name)
                self._fail_all(jobs, LOST)
                self.ask_to_stop()
                self._leave()
            except Exception:
                logger.exception("engine_failed")
                self._fail_all(jobs, CRASHED)
            finally:
                self._give_back(jobs)
        self._drawing = []
        self._meter.end(len(jobs))
        self._device.residency.note_drawn(len(jobs))

    def _draw(self, jobs: list[Job]) -> None:
        if jobs[0].kind == Job.Kind.IMAGE:
            Drawing(self._device, jobs, deliver=self._hand_over, fail=self._fail, on_step=self._note_step).run()
        else:
            Lesson(self._device, jobs[0], take=self._hands.let_go, fail=self._fail).run()

    def _hand_over(self, drawn: Drawn) -> None:
        failpoint("draw.done")
        if self._hands.let_go(drawn.job):
            self._poster.put(Delivery(drawn, self._revisions.get(drawn.job.model, "")))

    def _fail(self, job: Job, failure: Failure) -> None:
        if self._hands.let_go(job):
            report_failure(job, failure)
            self._leases.drop(job)

    def _fail_all(self, jobs: list[Job], failure: Failure) -> None:
        for job in jobs:
            self._fail(job, failure)

    # --- Leaving ----------------------------------------------------------------------------------------------------
    def _give_back_when_asked(self) -> None:
        """A step may take long, so the leases go back beside it: at once, and the attempt does not count."""
        self._device.stopping.wait()
        try:
            self._give_back()
        except DatabaseError as error:
            logger.warning("hand_back_failed", error=type(error).__name__)  # the leases run out by themselves
        finally:
            connection.close()

    def _give_back(self, jobs: Collection[Job] | None = None) -> None:
        with self._claiming:  # else a claim on its way would take at once what is given back
            self._hands.give_back(self._hands.held() if jobs is None else jobs)

    def _note_hang(self, what: str) -> None:
        """The process ends when this returns."""
        alarms.ring("device_hung", worker=self.name, what=what)
        self._fail_all(self._drawing or self._hands.held(), HUNG)  # it counts: the device may hang on the job itself
        self.ask_to_stop()
        self._leaver.join(HANG_POST_SECONDS)
        self._poster.stop(HANG_POST_SECONDS)
        self._leases.stop()  # its next beat would take the goodbye back
        self._say_goodbye()
        connection.close()

    # --- What it says of itself -------------------------------------------------------------------------------------
    def _note_loading(self, model: str) -> None:
        self._say_hello(Node.State.LOADING)

    def _note_loaded(self, loaded: LoadedModel) -> None:
        self._revisions[loaded.name] = loaded.revision
        self._device.caps.learn(loaded)
        self._say_hello(Node.State.BUSY)

    def _rest(self) -> None:
        self._say_hello(Node.State.IDLE)

    def _say_hello(self, state: Node.State | None = None) -> None:
        self._state = state or self._state
        events.worker_is_here(self.name, state=self._state, models=self.models, kinds=self.kinds)

    def _beat(self) -> None:
        self._say_hello()
        jobs_per_minute, idle_share = self._meter.rates()
        nodes.say(
            self.name,
            host=socket.gethostname(),
            device=self._engine.device,
            hardware=self._engine.hardware,
            memory_bytes=self._engine.memory_bytes,
            state=self._state,
            serves=self.models,
            kinds=self.kinds,
            resident=[{"model": loaded.name, "bytes": loaded.bytes} for loaded in self._engine.resident()],
            job_ids=[str(job.id) for job in self._hands.held()],
            jobs_done=self._meter.jobs_done,
            jobs_per_minute=jobs_per_minute,
            idle_share=idle_share,
            loads=self._device.residency.loads,
            swaps=self._device.residency.swaps,
        )

    def _say_goodbye(self) -> None:
        events.worker_is_gone(self.name)
        try:
            nodes.say_stopped(self.name)
        except DatabaseError as error:
            logger.warning("goodbye_failed", error=type(error).__name__)
