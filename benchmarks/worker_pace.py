"""How busy a worker keeps its device while the queue is full: against a bare loop, and beside a slow store.

    python benchmarks/worker_pace.py [--jobs 20] [--pairs 5] [--long 60]

Sleeping device, 0.6 s a job, 8 steps; real PostgreSQL, Valkey, post stage and files. The jobs share no batch.
"Throughput" takes turns with a loop of the same device calls without a worker. "Idle" is the time between two device
calls while every file takes 1 s to store.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine's own `build` does

from benchmarks.support import devices, figures, queue, site

THROUGHPUT_MIN = 0.98
IDLE_PERCENT_MAX = 1.0
GAP_P99_MS_MAX = 15.0


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--long", type=int, default=60)
    options = parser.parse_args()
    store_seconds = 1.0
    if options.quick:
        options.jobs, options.pairs, options.long, store_seconds = 3, 1, 4, 0.1
    report = figures.Report("worker pace with a full queue, sleeping device (S)")
    with site.scratch():
        engine = devices.SLEEPING.build()
        user = queue.person()
        with queue.worker(engine) as worker:
            throughput(report, engine, worker, user, options)
            idle(report, engine, worker, user, options.long, store_seconds)
    return report.end(is_strict=options.strict)


def throughput(report: figures.Report, engine: Any, worker: Any, user: Any, options: Any) -> None:
    jobs_count: int = options.jobs
    batches: list[devices.Batch] = []

    def with_worker() -> float:
        jobs = queue.fill(user, jobs_count, num_inference_steps=devices.STEPS)
        batches[:] = [devices.batch_of(job) for job in jobs]
        engine.calls.clear()
        queue.draw_all(worker, jobs_count)
        calls = engine.calls
        return calls[-1][1] - calls[0][0]

    def without() -> float:
        return figures.timed(lambda: queue.bare(engine, batches))()

    with_worker()
    runs = {"worker": with_worker, "bare": without}
    found = figures.interleave(runs, options.pairs, warm_ups=0)
    report.show(f"S: {jobs_count} jobs by the worker", found["worker"])
    report.show(f"S: {jobs_count} bare calls in a loop", found["bare"])
    ratios = figures.pairwise_ratios(found["bare"], found["worker"])
    report.hold("S: throughput against the bare loop", ratios, at_least=THROUGHPUT_MIN)


def idle(report: figures.Report, engine: Any, worker: Any, user: Any, count: int, store_seconds: float) -> None:
    queue.fill(user, count, num_inference_steps=devices.STEPS)
    engine.calls.clear()
    with queue.slow_store(store_seconds):
        queue.draw_all(worker, count)
    calls = engine.calls
    gaps = queue.gaps(calls)
    percent = 100 * sum(gaps) / (calls[-1][1] - calls[0][0])
    p99 = 1000 * queue.percentile(gaps, 0.99)
    report.show(f"S: gap between two calls, {count} jobs, files take {store_seconds:g} s", gaps)
    report.demand(f"S: device idle {percent:.2f} %, at most {IDLE_PERCENT_MAX} %", percent <= IDLE_PERCENT_MAX)
    report.demand(
        f"S: gap p99 {p99:.1f} ms (median {1000 * statistics.median(gaps):.1f}), at most {GAP_P99_MS_MAX} ms",
        p99 <= GAP_P99_MS_MAX,
    )


if __name__ == "__main__":
    sys.exit(main())
