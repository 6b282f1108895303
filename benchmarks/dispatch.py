"""From a submitted job to a busy device, on an idle queue: PostgreSQL, Celery's bell, the claim, the device.

    python benchmarks/dispatch.py [--jobs 40]

A real GPU worker process with the sleeping device (S), which writes down when each call begins. The submit runs in this
process; its clock starts when the transaction is committed. Both clocks are this machine's.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import devices, figures, queue, site

P50_MS_MAX = 60.0
WAIT_SECONDS_MAX = 30


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=40)
    options = parser.parse_args()
    if options.quick:
        options.jobs = 2
    report = figures.Report("dispatch: submit committed to device busy, idle queue, sleeping device (S)")
    with site.scratch() as folder:
        log = folder / "calls.log"
        log.touch()
        environment = {**devices.SLEEPING.environment, "FAKE_STEP_SECONDS": "0.01", "FAKE_LOG": str(log)}
        user = queue.person()
        with site.gpu_worker(folder, **environment, WARM_UP="0"):
            waits = [measure(user, log) for _ in range(options.jobs + 2)][2:]
    report.show("S: committed to device busy", waits, "ms")
    median = statistics.median(waits)
    report.demand(f"p50 {median:.0f} ms, at most {P50_MS_MAX:.0f} ms", median <= P50_MS_MAX)
    report.hold("S: committed to device busy / a job of 600 ms", [wait / 600 for wait in waits])
    return report.end(is_strict=options.strict)


def measure(user: object, log: Path) -> float:
    time.sleep(random.uniform(0.1, 0.5))  # at any moment of the worker's own rhythm
    lines = len(log.read_text().splitlines())
    queue.fill(user, 1, num_inference_steps=8)
    committed = time.time()
    until = time.monotonic() + WAIT_SECONDS_MAX
    while len(found := log.read_text().splitlines()) == lines:
        assert time.monotonic() < until, "nobody draws: the run is void"
        time.sleep(0.01)
    return 1000 * (float(found[lines].split()[0]) - committed)


if __name__ == "__main__":
    sys.exit(main())
