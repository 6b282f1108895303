"""What dynamic batching brings, what it costs nobody, and where the worker chooses not to batch.

    python benchmarks/batching.py [--jobs 24] [--pairs 3] [--starter-jobs 8]

The sleeping device (S) takes the step times that SGLang printed for Qwen-Image on one H200, by size and batch
(`research/performance.md` 2.1): 512 px gains up to three times, 1024 px nothing. The worker measures that by itself, as
at every first start, and chooses. Both runs draw the same jobs of 4 steps; "one by one" has every cap at 1. Jobs that
come alone must not wait for company. The starter model (T) is printed without a bar: a CPU gains little.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine's own `build` does

from benchmarks.support import devices, figures, queue, site

TABLE = {
    "512": {"1": 0.167, "2": 0.183, "3": 0.186, "4": 0.240},
    "1024": {"1": 0.243, "2": 0.474, "3": 0.711, "4": 0.948},
}
SMALL = {"model": "starter", "size": "512x512", "num_inference_steps": 4}
LARGE = {"model": "sdxl-lightning", "size": "1024x1024", "num_inference_steps": 4}


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--starter-jobs", type=int, default=8)
    options = parser.parse_args()
    scale = 1.0
    if options.quick:
        options.jobs, options.pairs, options.starter_jobs, scale = 6, 1, 0, 0.1
    TABLE["256"] = TABLE["512"]  # what the starter draws, and is measured at, when 512 px are asked for
    table = {side: {count: scale * t for count, t in times.items()} for side, times in TABLE.items()}
    os.environ["FAKE_STEP_TABLE"] = json.dumps(table)
    report = figures.Report("dynamic batching")
    with site.scratch():
        from generation.models import ImageModel

        ImageModel.objects.update(is_active=True)
        engine = devices.SLEEPING.build()
        user = queue.person()
        with queue.worker(engine, "starter", "sdxl-lightning") as worker:
            worker.warm_up(120)
            gain(report, engine, worker, user, SMALL, options, at_least=2.5)
            gain(report, engine, worker, user, LARGE, options, at_least=1.0 if not options.quick else 0)
            alone(report, engine, worker, user, options.pairs * 4)
        if options.starter_jobs:
            starter(report, user, options)
    return report.end(is_strict=options.strict)


def gain(
    report: Any, engine: Any, worker: Any, user: Any, shape: dict[str, Any], options: Any, at_least: float
) -> None:
    from tests.factories import make_job

    caps, sizes = worker._device.caps, set()
    measured = caps.of(make_probe(shape))

    def draw(cap: int | None) -> float:
        of = caps.of
        caps.of = (lambda job: cap) if cap else of
        try:
            for place in range(options.jobs):
                make_job(user, seed=place, **shape)
            engine.calls.clear(), engine.batches.clear()
            queue.draw_all(worker, options.jobs)
        finally:
            caps.of = of
        if not cap:
            sizes.update(len(batch.requests) for batch in engine.batches)
        return engine.calls[-1][1] - engine.calls[0][0]

    runs = {"batches": lambda: draw(None), "one by one": lambda: draw(1)}
    found = figures.interleave(runs, options.pairs, warm_ups=0)
    name = f"S, {shape['size']}: {options.jobs} jobs"
    report.say(f"       {name}: the worker measured and chose batches of {measured}; drawn: {sorted(sizes)}")
    for label, values in found.items():
        report.show(f"{name}, {label}", values)
    ratios = figures.pairwise_ratios(found["one by one"], found["batches"])
    # A cap of 1 is the same work twice: what is left is noise, so that the bar has its width.
    report.hold(f"{name}: gain", ratios, at_least=at_least if measured > 1 else min(at_least, 0.98))
    if shape is LARGE:
        report.demand(f"{name}: it chooses 1", measured == 1)


def make_probe(shape: dict[str, Any]) -> Any:
    from generation.models import Job

    width, _, height = shape["size"].partition("x")
    return Job(model=shape["model"], width=int(width), height=int(height))


def alone(report: Any, engine: Any, worker: Any, user: Any, count: int) -> None:
    """A job that comes to an idle device: what the worker adds between the look and the device."""
    from tests.factories import make_job

    waits = []
    for place in range(count):
        make_job(user, seed=place, **SMALL)
        engine.calls.clear()
        looked_at = time.monotonic()
        queue.draw_all(worker, 1)
        waits.append(1000 * (engine.calls[0][0] - looked_at))
    report.show("S: a job alone, from the look to the device", waits, "ms")
    report.say(f"       of that the claim, in PostgreSQL; median {statistics.median(waits):.1f} ms")


def starter(report: Any, user: Any, options: Any) -> None:
    for device, engine in devices.available(devices.STARTER, skip=report.skip):
        milliseconds = {}
        for count in (1, 2, 4):
            run = figures.timed(partial(queue.bare, engine, [batch_of(count)]))
            found = figures.interleave({"run": run}, options.pairs)
            milliseconds[count] = 1000 * statistics.median(found["run"])
        pace = ", ".join(f"{count}: {ms / count:.0f} ms a picture" for count, ms in milliseconds.items())
        report.say(f"       {device.name} (T), 256 px, 8 steps: {pace}; no bar")


def batch_of(count: int) -> Any:
    from generation.engine import Batch, ImageRequest, catalog

    spec = catalog.get("starter")
    requests = tuple(ImageRequest("a red fox by a lake", "", seed) for seed in range(count))
    return Batch("starter", *spec.default_size, spec.steps_default, spec.guidance_default, requests)


if __name__ == "__main__":
    sys.exit(main())
