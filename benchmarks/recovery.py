"""How long a job stands still when its GPU worker is killed: SIGKILL to the claim of another worker.

    python benchmarks/recovery.py [--rounds 2] [--workers 10]

Real processes at the product's own lease, heartbeat and sweep: GPU workers with the sleeping device (S), Celery and its
beat. All workers are in the middle of a picture and have the next one claimed; they die at moments that are spread over
a whole sweep, and a new one goes on. The clock of both moments is the database's. The quick form shortens the times and
says nothing about the bar.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from subprocess import Popen
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import devices, figures, queue, site

P95_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 150
SHORT_TIMES = {"LEASE_SECONDS": "3", "HEARTBEAT_SECONDS": "0.5", "SWEEP_SECONDS": "0.5"}
CELERY = ("-m", "celery", "-A", "tenkaigen")


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=10)
    options = parser.parse_args()
    times: dict[str, str] = {}
    if options.quick:
        options.rounds, options.workers, times = 1, 1, SHORT_TIMES
    report = figures.Report("recovery: SIGKILL of a GPU worker to the claim of another, sleeping device (S)")
    with site.scratch() as folder, sweeping(folder, times):
        user, waits = queue.person(), []
        for number in range(options.rounds):
            waits += measure(user, folder / f"round-{number}", options.workers, times)
    report.show(f"S: {len(waits)} jobs of {options.rounds * options.workers} killed workers", waits)
    p95 = max(waits) if len(waits) < 20 else statistics.quantiles(waits, n=20)[-1]
    report.hold(f"S: p95 in seconds{', at short times' if times else ''}", [p95], at_most=P95_SECONDS_MAX)
    return report.end(is_strict=options.strict)


@contextmanager
def sweeping(folder: Path, times: dict[str, str]) -> Iterator[None]:
    """Celery and its beat, as the Procfile starts them."""
    worker = (*CELERY, "worker", "-Q", "default", "-P", "threads", "-c", "4", "--without-gossip", "--without-mingle")
    beat = (*CELERY, "beat", "--pidfile=", "-s", str(folder / "beat"))
    log = folder / "celery.log"
    with site.running(*worker, log=log, **times), site.running(*beat, log=log, **times):
        yield


def measure(user: Any, folder: Path, count: int, times: dict[str, str]) -> list[float]:
    """Seconds that each job of the killed workers stood still."""
    from generation.models import Job

    folder.mkdir()
    with ExitStack() as stack:

        def begin(name: str, step_seconds: float) -> Popen[bytes]:
            environment = {**devices.SLEEPING.environment, "FAKE_STEP_SECONDS": str(step_seconds), "WARM_UP": "0"}
            log = folder / f"{name}.log"
            argv = ("manage.py", "gpu_worker", "--device", "cpu")
            return stack.enter_context(site.running(*argv, log=log, **environment, **times))

        victims = [begin(f"victim-{number}", 20.0) for number in range(count)]
        jobs = Job.objects.filter(id__in=[job.id for job in queue.fill(user, 2 * count, num_inference_steps=8)])
        held = jobs.filter(status=Job.Status.PROCESSING)
        pids = {victim.pid for victim in victims}
        wait_until(lambda: {pid_of(job) for job in held.all()} == pids, "not all of them draw")
        died: dict[int, datetime] = {}
        for victim in victims:
            time.sleep(random.uniform(0, 2 * float(times.get("SWEEP_SECONDS", 10)) / count))
            victim.kill()
            died[victim.pid] = database_now()
        lost = {job.id: died[pid_of(job)] for job in held.all()}
        begin("heir", 0.01)
        taken = jobs.filter(id__in=lost, attempts__gte=2, claimed_at__isnull=False)
        wait_until(lambda: taken.count() == len(lost), "not all of them were taken over")
        waits = [(job.claimed_at - lost[job.id]).total_seconds() for job in taken]
        wait_until(lambda: not jobs.exclude(status=Job.Status.COMPLETED).exists(), "not all of them were drawn")
    return waits


def pid_of(job: Any) -> int:
    return int(job.worker.rpartition(":")[2])


def database_now() -> datetime:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found


def wait_until(what: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not what():
        assert time.monotonic() < until, f"{otherwise}: the run is void"
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
