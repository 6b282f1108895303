"""What the engine adds to diffusers: `generate()` against the bare `pipe()` call for the same work, side by side.

    python benchmarks/engine_overhead.py [--model starter] [--pairs 15] [--batch 1]

Both use the same loaded pipeline and take turns (A B A B), so that load on the machine hits both. "previews" draws a
rough picture at every step, as a worker does at most. Exit status 1 when the median ratio is over --ratio-max.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `build` does; here torch is imported before
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from generation.engine import Batch, ImageRequest, build, catalog
from generation.engine.diffusion import DiffusionEngine

PROMPT = "a beautiful sunset over mountains"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--ratio-max", type=float, default=1.05)
    options = parser.parse_args()
    engine = build(options.device)
    engine.load(options.model)
    batch = make_batch(options.model, options.batch)
    runs: dict[str, Callable[[], object]] = {
        "bare pipe()": lambda: bare(engine, batch),
        "generate()": lambda: engine.generate(batch, lambda step: None),
        "generate(), previews": lambda: engine.generate(batch, lambda step: step.preview()),
    }
    seconds = interleave(runs, options.pairs)
    print(f"{options.model} on {options.device}, batch {options.batch}, {options.pairs} rounds, load {os.getloadavg()}")
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds["bare pipe()"], strict=True))
        of_minima = min(values) / min(seconds["bare pipe()"])
        print(
            f"{name:22} min {min(values):.4f} s  median {statistics.median(values):.4f} s  max {max(values):.4f} s  "
            f"ratio: median of pairs {ratio:.3f}, of minima {of_minima:.3f}"
        )
    worst = statistics.median(a / b for a, b in zip(seconds["generate()"], seconds["bare pipe()"], strict=True))
    return 0 if worst <= options.ratio_max else 1


def make_batch(model: str, count: int) -> Batch:
    spec = catalog.get(model)
    requests = tuple(ImageRequest(PROMPT, "", seed) for seed in range(count))
    return Batch(model, *spec.default_size, spec.steps_default, spec.guidance_default, requests)


def bare(engine: DiffusionEngine, batch: Batch) -> object:
    """The call that the documentation of diffusers shows, PIL pictures and all; no callback, no checks."""
    spec, pipe = catalog.get(batch.model), engine._resident[batch.model][0]
    return pipe(
        [request.prompt for request in batch.requests],
        width=batch.width,
        height=batch.height,
        num_inference_steps=batch.num_inference_steps,
        generator=[torch.Generator("cpu").manual_seed(request.seed) for request in batch.requests],
        **{spec.guidance_argument: batch.guidance_scale},
    )


def interleave(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round; the first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
