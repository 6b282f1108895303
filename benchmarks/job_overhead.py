"""What a job costs a device over the bare `pipe()` call for the same work, from the claim until the device is free.

    python benchmarks/job_overhead.py [--pairs 15] [--device starter|sleeping]

One process, as the worker's is: the real worker claims a queued job from PostgreSQL, draws it, reports its steps and
rough pictures to Redis and hands it to the post stage; then the device is free. "With both looks" adds what comes
before and after: the claim itself, and the look that finds the queue empty. The post stage checks, encodes and stores
the picture beside the device, so it is waited for before the bare call has its turn. "Back to back" draws several jobs
that share no batch, claims and all, while the post stage works on the one before; on a CPU it takes the device's cores.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine's own `build` does

from benchmarks.support import devices, figures, site

BARS = {devices.STARTER: 1.10, devices.SLEEPING: 1.05}
IN_A_ROW = 4


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--device", choices=["starter", "sleeping"])
    options = parser.parse_args()
    chosen = [device for device in BARS if device.name.startswith(options.device or "")]
    in_a_row = IN_A_ROW
    if options.quick:
        options.pairs, in_a_row, chosen = 1, 2, [devices.SLEEPING]
    report = figures.Report("job overhead: claimed to device free, against bare pipe()")
    with site.scratch():
        for device, engine in devices.available(*chosen, skip=report.skip):
            measure(report, device, engine, options.pairs, in_a_row)
    return report.end(is_strict=options.strict)


def measure(report: figures.Report, device: devices.Device, engine: object, pairs: int, in_a_row: int) -> None:
    from generation.models import Job
    from generation.worker import Worker
    from tests.factories import allow, make_job, make_user

    user = make_user(credits=100_000)
    allow(user, 100)

    class TimedWorker(Worker):
        """Adds up the time from each claim until its device is free."""

        seconds = 0.0

        def _make(self, jobs: list[Job]) -> None:
            began = time.perf_counter()
            super()._make(jobs)
            self.seconds += time.perf_counter() - began

    worker = TimedWorker(engine, models=[devices.MODEL])
    worker.start()
    free_after: list[float] = []
    batches: dict[int, devices.Batch] = {}

    def queue(count: int) -> None:
        """Jobs of different guidance, which therefore share no batch."""
        jobs = [
            make_job(user, seed=number, num_inference_steps=devices.STEPS, guidance_scale=4 + number / 10)
            for number in range(count)
        ]
        batches.update((number, devices.batch_of(job)) for number, job in enumerate(jobs))

    def drawn(count: int) -> float:
        """Seconds with both looks; those from the claim until the device is free go to `free_after`."""
        queue(count)
        worker.seconds = 0.0
        seconds = figures.timed(lambda: drain(worker, count))()
        worker.wait_for_post_stage()
        assert_delivered(user, count)
        free_after.append(worker.seconds)
        return seconds

    def bare(count: int) -> float:
        return figures.timed(lambda: [devices.bare(engine, batches[number]) for number in range(count)])()

    drawn(in_a_row)  # makes the first batches, and warms up
    single = figures.interleave({"job": lambda: drawn(1), "bare": lambda: bare(1)}, pairs)
    claimed_to_free = free_after[-pairs:]
    row = figures.interleave(
        {"job": lambda: drawn(in_a_row), "bare": lambda: bare(in_a_row)}, -(-pairs // 3), warm_ups=0
    )
    worker.stop()
    report.show(f"{device.name}: bare pipe()", single["bare"])
    report.show(f"{device.name}: claimed to device free", claimed_to_free)
    name = f"{device.name}: claimed to device free"
    report.hold(name, figures.pairwise_ratios(claimed_to_free, single["bare"]), at_most=BARS[device])
    report.hold(f"{device.name}: with both looks", figures.pairwise_ratios(single["job"], single["bare"]))
    name = f"{device.name}: {in_a_row} jobs back to back"
    report.hold(name, figures.pairwise_ratios(row["job"], row["bare"]))


def drain(worker: object, count: int) -> None:
    drawn = worker.drain()  # type: ignore[attr-defined]
    assert drawn == count, f"{drawn} of {count} jobs drawn: the run is void"


def assert_delivered(user: object, count: int) -> None:
    """A run in which a job failed is void."""
    newest = user.jobs.order_by("-created_at").values_list("status", flat=True)[:count]  # type: ignore[attr-defined]
    assert set(newest) == {"completed"}, f"{list(newest)}: the run is void"


if __name__ == "__main__":
    sys.exit(main())
