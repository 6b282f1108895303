"""From a cold process to the first picture: what a newcomer waits for, and what a restarted worker needs.

    python benchmarks/engine_start.py [--model starter] [--rounds 5]

Every round starts two processes, one as the product does it and one with the garbage collector left running during the
imports ("collecting"), and prints the seconds of each part and the processor time of all, which a busy machine changes
less. The files are in the page cache after the first round.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures
from generation.engine import ModelUnavailable
from generation.engine.loading import Shelf

ROOT = Path(__file__).resolve().parents[1]
SECONDS_MAX = 4.0
PARTS = ("build", "load", "picture", "processor time", "start to picture")


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=["product", "collecting"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(*measure(options.model, collecting=options.child == "collecting"))
        return 0
    report = figures.Report(f"engine start: {options.model} on the CPU, one process per figure")
    try:
        Shelf.at().check(options.model)
    except ModelUnavailable as error:
        report.skip(options.model, error)
        return report.end(is_strict=options.strict)
    found: dict[str, list[list[float]]] = {"product": [], "collecting": []}
    for _ in range(1 if options.quick else options.rounds):
        for kind, rows in found.items():
            rows.append(child(options.model, kind))
    parts = {kind: dict(zip(PARTS, zip(*rows, strict=True), strict=True)) for kind, rows in found.items()}
    for kind, columns in parts.items():
        for part, values in columns.items():
            report.show(f"{kind}: {part}", values)
    for part in ("processor time", "start to picture"):
        ratios = figures.pairwise_ratios(parts["product"][part], parts["collecting"][part])
        report.hold(f"{part}: product / collecting", ratios)
    seconds = statistics.median(parts["product"]["start to picture"])
    report.demand(f"start to picture: median {seconds:.2f} s, at most {SECONDS_MAX:.2f} s", seconds <= SECONDS_MAX)
    return report.end(is_strict=options.strict)


def child(model: str, kind: str) -> list[float]:
    """Seconds of each part, and from the start of the process to the first picture."""
    command = [sys.executable, __file__, "--model", model, "--child", kind]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return [float(word) for word in output.split()]


def measure(model: str, *, collecting: bool) -> tuple[float, ...]:
    from generation.engine import Batch, ImageRequest, build, catalog, loading

    if collecting:
        loading.collector_paused = contextlib.nullcontext
    spec = catalog.get(model)
    marks = [time.monotonic()]
    engine = build("cpu")
    marks.append(time.monotonic())
    engine.load(model)
    marks.append(time.monotonic())
    request = ImageRequest("a beautiful sunset over mountains", "", 1)
    batch = Batch(model, *spec.default_size, spec.steps_default, spec.guidance_default, (request,))
    engine.generate(batch, lambda step: None)
    marks.append(time.monotonic())
    return (
        *(later - earlier for earlier, later in itertools.pairwise(marks)),
        time.process_time(),
        since_process_start(),
    )


def since_process_start() -> float:
    """Seconds since the kernel started this process (proc(5): field 22 of stat, in clock ticks since boot)."""
    started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime_seconds = float(Path("/proc/uptime").read_text().split()[0])
    return uptime_seconds - started_ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
