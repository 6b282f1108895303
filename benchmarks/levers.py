"""What the optional levers of the engine change, on the starter model and this processor: on against off, in turns.

    python benchmarks/levers.py [--pairs 9]

The prompt cache is asked for the same words again and again, as the images of one job do. Compiling, other attention
kernels and lower precision are for accelerators: `benchmarks/gpu_qwen.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `build` does
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures
from generation.engine import Batch, ImageRequest, ModelUnavailable, build, catalog

LEVERS = {"prompt cache": {"prompt_cache_bytes": 0}, "channels_last": {"channels_last": False}}


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    if options.quick:
        options.pairs = 1
    steps = 2 if options.quick else catalog.get("starter").steps_default
    report = figures.Report("levers of the engine, starter model (T)")
    try:
        for name, off in LEVERS.items():
            measure(report, name, off, options.pairs, steps)
    except ModelUnavailable as error:
        report.skip("starter", error)
    return report.end(is_strict=options.strict)


def measure(report: figures.Report, name: str, off: dict[str, int | bool], pairs: int, steps: int) -> None:
    engines = {"on": build("cpu"), "off": build("cpu", **off)}  # type: ignore[arg-type]
    for images in (1, 4):
        batch = batch_of(images, steps)
        runs = {
            state: figures.timed(lambda engine=engine, batch=batch: engine.generate(batch, lambda step: None))
            for state, engine in engines.items()
        }
        found = figures.interleave(runs, pairs)
        for state, values in found.items():
            report.show(f"T: {images} of 256 px, {steps} steps, {name} {state}", values)
        report.hold(f"T: {images} of 256 px, {name} on / off", figures.pairwise_ratios(found["on"], found["off"]))


def batch_of(images: int, steps: int) -> Batch:
    spec = catalog.get("starter")
    requests = tuple(ImageRequest("a beautiful sunset over mountains", "", seed) for seed in range(images))
    return Batch("starter", *spec.default_size, steps, spec.guidance_default, requests)


if __name__ == "__main__":
    sys.exit(main())
