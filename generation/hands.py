"""The jobs a worker has claimed and not drawn yet. Each leaves exactly once: handed on, or back into the queue."""

import threading
from collections.abc import Collection
from uuid import UUID

import structlog

from generation import events, transitions
from generation.leases import Leases
from generation.models import Job

logger = structlog.get_logger(__name__)


class Hands:
    """Safe to use from several threads: the one that draws, the one that claims ahead, the one that leaves."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._held: dict[UUID, Job] = {}
        self._lock = threading.Lock()

    def take(self, jobs: list[Job]) -> None:
        self._leases.add(jobs)
        with self._lock:
            self._held |= {job.id: job for job in jobs}

    def held(self) -> list[Job]:
        with self._lock:
            return list(self._held.values())

    def let_go(self, job: Job) -> bool:
        """Hand a job on: it keeps its lease, for whoever has it now. Whether it was still here."""
        with self._lock:
            return self._remove(job)

    def give_back(self, jobs: Collection[Job]) -> None:
        """Queue again, uncounted, what of some jobs is still here. A repeated call changes nothing more.

        When this returns, nothing of them is held, whichever thread gave it back.
        """
        with self._lock:
            for job in jobs:
                if self._remove(job):
                    self._release(job)

    def _remove(self, job: Job) -> bool:
        # The same job may have come back to this worker under another fence.
        is_here = self._held.get(job.id) is job
        if is_here:
            del self._held[job.id]
        return is_here

    def _release(self, job: Job) -> None:
        is_ours = not self._leases.is_lost(job)
        self._leases.drop(job)  # first: whoever tells of this job looks here
        if is_ours and transitions.release(job):
            events.forget([job.id])
            logger.info("job_handed_back", job_id=str(job.id))
