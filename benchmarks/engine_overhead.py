"""What the engine adds to diffusers: `generate()` against the bare `pipe()` call for the same work, side by side.

    python benchmarks/engine_overhead.py [--model starter] [--pairs 15] [--batch 1]

Both use the same loaded pipeline and take turns, so that load on the machine hits both. "previews" draws a rough
picture at every step, as a worker does at most.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `build` does; here torch is imported before
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures
from benchmarks.support.devices import bare
from generation.engine import Batch, ImageRequest, ModelUnavailable, build, catalog

PROMPT = "a beautiful sunset over mountains"
BAR = 1.05


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    if options.quick:
        options.pairs = 1
    report = figures.Report(f"engine overhead: {options.model} on {options.device}, batch {options.batch}")
    engine = build(options.device)
    try:
        engine.load(options.model)
    except ModelUnavailable as error:
        report.skip(options.model, error)
        return report.end(is_strict=options.strict)
    batch = make_batch(options.model, options.batch)
    runs = {
        "bare pipe()": lambda: bare(engine, batch),
        "generate()": lambda: engine.generate(batch, lambda step: None),
        "generate(), previews": lambda: engine.generate(batch, lambda step: step.preview()),
    }
    found = figures.interleave({name: figures.timed(run) for name, run in runs.items()}, options.pairs)
    for name, values in found.items():
        report.show(name, values)
    below = found.pop("bare pipe()")
    for name, values in found.items():
        is_measure = name == "generate()"
        report.hold(f"{name} / bare pipe()", figures.pairwise_ratios(values, below), at_most=BAR if is_measure else 0)
    return report.end(is_strict=options.strict)


def make_batch(model: str, count: int) -> Batch:
    spec = catalog.get(model)
    requests = tuple(ImageRequest(PROMPT, "", seed) for seed in range(count))
    return Batch(model, *spec.default_size, spec.steps_default, spec.guidance_default, requests)


if __name__ == "__main__":
    sys.exit(main())
