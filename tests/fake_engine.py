"""A device that draws flat pictures, as fast or slow as a test wants, behind the engine's real protocol.

`FAKE_STEP_SECONDS` makes every step take that long, so that a test has time to kill the process that draws.
"""

import os
import time
from collections.abc import Callable

import numpy as np

from generation.engine import Batch, LoadedModel, Step


class FakeEngine:
    """Draws the colour of the seed, with some texture so that the picture check lets it pass."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.batches: list[Batch] = []
        self.failures: list[Exception] = []  # raised one after the other, one per batch
        self.step_seconds = float(os.environ.get("FAKE_STEP_SECONDS", "0"))
        self.before_step: Callable[[int], None] = lambda number: None
        self._loaded: set[str] = set()

    def load(self, model: str) -> LoadedModel:
        self._loaded.add(model)
        return LoadedModel(name=model, revision="fake", seconds=0.0, bytes=0)

    def is_loaded(self, model: str) -> bool:
        return model in self._loaded

    def generate(self, batch: Batch, on_step: Callable[[Step], None]) -> list[np.ndarray]:
        self.load(batch.model)
        self.batches.append(batch)
        if self.failures:
            raise self.failures.pop(0)
        for number in range(1, batch.num_inference_steps + 1):
            time.sleep(self.step_seconds)
            self.before_step(number)
            on_step(Step(number, batch.num_inference_steps, lambda: [picture(16, 16, r.seed) for r in batch.requests]))
        return [picture(batch.width, batch.height, request.seed) for request in batch.requests]


def picture(width: int, height: int, seed: int) -> np.ndarray:
    """A deterministic picture: a colour from the seed, and a gradient over it."""
    colour = np.random.default_rng(seed).integers(40, 200, 3)
    shade = np.linspace(0, 55, width, dtype=np.float32)[None, :, None]
    return np.broadcast_to(colour[None, None, :] + shade, (height, width, 3)).astype(np.uint8)


def build(device: str) -> FakeEngine:
    return FakeEngine(device)
