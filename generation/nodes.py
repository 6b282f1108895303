"""The rows of GPU workers: written by each about itself, read by staff. The clock is the database's."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import BooleanField, Case, Value, When
from django.db.models.functions import Now

from generation.models import Job, Node

WINDOW_SECONDS = 300.0
SHOWN_MAX = 200


class Meter:
    """What a device did in its last minutes: how much of the time it was busy, and how many jobs it drew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._spans: deque[tuple[float, float, int]] = deque()  # from, until, jobs
        self._busy_since: float | None = None
        self._born = clock()
        self.jobs_done = 0

    def begin(self) -> None:
        with self._lock:
            self._busy_since = self._clock()

    def end(self, jobs: int) -> None:
        with self._lock:
            if self._busy_since is not None:
                self._spans.append((self._busy_since, self._clock(), jobs))
            self._busy_since = None
            self.jobs_done += jobs

    def rates(self) -> tuple[float, float]:
        """(jobs a minute, idle share 0 to 1), over the last `WINDOW_SECONDS` or since the start."""
        with self._lock:
            now = self._clock()
            since = max(self._born, now - WINDOW_SECONDS)
            while self._spans and self._spans[0][1] < since:
                self._spans.popleft()
            busy = sum(until - max(begun, since) for begun, until, _ in self._spans)
            if self._busy_since is not None:
                busy += now - max(self._busy_since, since)
            seconds = max(now - since, 0.001)
            jobs = sum(jobs for _, _, jobs in self._spans)
            return 60 * jobs / seconds, min(1.0, max(0.0, 1 - busy / seconds))


@dataclass(frozen=True, slots=True)
class Shown:
    """A node as the staff page shows it."""

    node: Node
    jobs: Sequence[Job]

    @property
    def is_stale(self) -> bool:
        return bool(self.node.is_stale)  # type: ignore[attr-defined]

    @property
    def idle_percent(self) -> float:
        return 100 * self.node.idle_share

    @property
    def memory_share_percent(self) -> float | None:
        """Of the device's memory that its models hold; None where the memory is not known."""
        held = sum(int(model["bytes"]) for model in self.node.resident)
        return 100 * held / self.node.memory_bytes if self.node.memory_bytes else None


def say(name: str, **columns: object) -> None:
    """Write a worker's row, as of now; its first call makes it and forgets workers long gone."""
    columns["last_heartbeat_at"] = Now()
    if not Node.objects.filter(name=name).update(**columns):
        Node.objects.filter(last_heartbeat_at__lt=Now() - timedelta(hours=settings.NODE_KEEP_HOURS)).delete()
        Node.objects.update_or_create(name=name, defaults=columns)


def say_stopped(name: str) -> None:
    Node.objects.filter(name=name).update(
        state=Node.State.STOPPED, resident=[], job_ids=[], jobs_per_minute=0, idle_share=1, last_heartbeat_at=Now()
    )


def shown() -> list[Shown]:
    """Every node, the living first, with what each draws now. Two statements."""
    silent_for = timedelta(seconds=settings.LEASE_SECONDS)
    is_stale = Case(
        When(state=Node.State.STOPPED, then=Value(False)),
        When(last_heartbeat_at__lt=Now() - silent_for, then=Value(True)),
        default=Value(False),
        output_field=BooleanField(),
    )
    nodes = list(Node.objects.annotate(is_stale=is_stale).order_by("-last_heartbeat_at")[:SHOWN_MAX])
    nodes.sort(key=lambda node: (node.state == Node.State.STOPPED or node.is_stale, node.host, node.device))
    wanted = {UUID(job_id) for node in nodes for job_id in node.job_ids}
    jobs = Job.objects.select_related("team").in_bulk(wanted)
    return [Shown(node, [jobs[UUID(job)] for job in node.job_ids if UUID(job) in jobs]) for node in nodes]
