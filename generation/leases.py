"""A worker's leases, renewed from a thread of its own while the device and the post stage work."""

import threading
import time
from collections.abc import Callable
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from generation import transitions
from generation.models import Job

logger = structlog.get_logger(__name__)


class Leases:
    """Which jobs this process holds, and which of them it has lost. Safe to use from several threads."""

    def __init__(self, on_beat: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._fences: dict[UUID, int] = {}
        self._progress_at: dict[UUID, float] = {}
        self._lost: set[UUID] = set()
        self._on_beat = on_beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=settings.HEARTBEAT_SECONDS)

    def add(self, jobs: list[Job]) -> None:
        with self._lock:
            for job in jobs:
                self._fences[job.id], self._progress_at[job.id] = job.fence, time.monotonic()
                self._lost.discard(job.id)

    def drop(self, job: Job) -> None:
        with self._lock:
            if self._fences.get(job.id) == job.fence:
                del self._fences[job.id], self._progress_at[job.id]
                self._lost.discard(job.id)

    def note_progress(self, jobs: list[Job]) -> None:
        """Say that work goes on. A lease whose job shows no progress is not renewed: its device hangs."""
        with self._lock:
            now = time.monotonic()
            for job in jobs:
                if job.id in self._progress_at:
                    self._progress_at[job.id] = now

    def allow(self, jobs: list[Job], seconds: float) -> None:
        """Expect no progress for so long: a watchdog looks after what takes longer than a step."""
        with self._lock:
            until = time.monotonic() + max(0.0, seconds - settings.STALL_SECONDS)
            for job in jobs:
                if job.id in self._progress_at:
                    self._progress_at[job.id] = until

    def note_lost(self, job_ids: set[UUID]) -> None:
        with self._lock:
            self._lost |= job_ids & self._fences.keys()

    def is_lost(self, job: Job) -> bool:
        """Whether somebody else has, or nobody wants, this job any more."""
        with self._lock:
            return job.id in self._lost or self._fences.get(job.id) != job.fence

    def renew(self) -> None:
        """Renew what moves, and find out what is no longer ours."""
        alive_since = time.monotonic() - settings.STALL_SECONDS
        with self._lock:
            held = [
                (job_id, fence)
                for job_id, fence in self._fences.items()
                if job_id not in self._lost and self._progress_at[job_id] > alive_since
            ]
        ours = transitions.heartbeat(held)
        with self._lock:
            # By fence: the job may have come back to this very worker while the database was asked.
            self._lost |= {job_id for job_id, fence in held if job_id not in ours and self._fences.get(job_id) == fence}

    def _beat(self) -> None:
        while not self._stop.is_set():
            try:
                close_old_connections()
                self.renew()
                self._on_beat()
            except DatabaseError as error:
                # The lease outlives several missed beats; the next one may find the server again.
                logger.warning("heartbeat_missed", error=type(error).__name__)
            except Exception:  # without this thread every job of this process would be taken from it, for good
                logger.exception("heartbeat_failed")
            self._stop.wait(settings.HEARTBEAT_SECONDS)
        connection.close()
