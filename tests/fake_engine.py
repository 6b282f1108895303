"""A device that draws flat pictures, as fast or slow as a test wants, behind the engine's real protocol.

`FAKE_STEP_SECONDS` makes every step take that long, so that a test has time to kill the process that draws.
`FAKE_STEP_TABLE` says it by size and batch, for benchmarks: {"512": {"1": 0.167, "2": 0.183}}, by the longer side.
`FAKE_LOG` names a file that gets a line for every call: when it began and ended (time.time()), model, pictures.
"""

import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from generation.engine import (
    Batch,
    EngineError,
    ImageRequest,
    LoadedModel,
    OutOfMemory,
    Step,
    TooFewPictures,
    Trained,
    Training,
    Watcher,
)

GIB = 2**30


class FakeEngine:
    """Draws the colour of the seed, with some texture so that the picture check lets it pass."""

    hardware = "fake"

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.memory_bytes = 100 * GIB
        self.batches: list[Batch] = []
        self.failures: list[Exception] = []  # raised one after the other, one per batch
        self.step_seconds = float(os.environ.get("FAKE_STEP_SECONDS", "0"))
        self.step_table: dict[str, dict[str, float]] = json.loads(os.environ.get("FAKE_STEP_TABLE", "{}"))
        self.load_seconds = 0.0
        self.images_max = 64  # more at once do not fit
        self.before_step: Callable[[int], None] = lambda number: None
        self.before_picture: Callable[[ImageRequest], None] = lambda request: None
        self.buckets: Callable[[str], int] = lambda prompt: 0
        self.prepared: list[Batch] = []
        self.trainings: list[tuple[Training, int]] = []  # and the step each went on from
        self.calls: list[tuple[float, float]] = []  # monotonic, begin and end
        self.loads: list[str] = []
        self._loaded: dict[str, LoadedModel] = {}
        self._log = os.environ.get("FAKE_LOG", "")

    def load(self, model: str) -> LoadedModel:
        if model not in self._loaded:
            time.sleep(self.load_seconds)
            self.loads.append(model)
            self._loaded[model] = LoadedModel(name=model, revision="fake", seconds=self.load_seconds, bytes=GIB)
        return self._loaded[model]

    def unload(self, model: str) -> None:
        self._loaded.pop(model, None)

    def is_loaded(self, model: str) -> bool:
        return model in self._loaded

    def resident(self) -> list[LoadedModel]:
        return list(self._loaded.values())

    def bucket(self, model: str, request: ImageRequest) -> int:
        return self.buckets(request.prompt)

    def prepare(self, batch: Batch) -> None:
        self.prepared.append(batch)

    def generate(self, batch: Batch, on_step: Callable[[Step], None]) -> list[np.ndarray]:
        self.load(batch.model)
        self.batches.append(batch)
        began, wall = time.monotonic(), time.time()
        try:
            return self._draw(batch, on_step)
        finally:
            self.calls.append((began, time.monotonic()))
            if self._log:
                with Path(self._log).open("a") as log:
                    log.write(f"{wall} {time.time()} {batch.model} {len(batch.requests)}\n")

    def _draw(self, batch: Batch, on_step: Callable[[Step], None]) -> list[np.ndarray]:
        if self.failures:
            raise self.failures.pop(0)
        if len(batch.requests) > self.images_max:
            raise OutOfMemory("too many at once")
        for request in batch.requests:
            self.before_picture(request)
        seconds = self._seconds(batch)
        for number in range(1, batch.num_inference_steps + 1):
            time.sleep(seconds)
            self.before_step(number)
            on_step(Step(number, batch.num_inference_steps, lambda: [picture(16, 16, r.seed) for r in batch.requests]))
        return [picture(batch.width, batch.height, request.seed) for request in batch.requests]

    def train(self, training: Training, watcher: Watcher, *, resume: bytes = b"") -> Trained:
        """Every step sleeps and its loss halves; the adapter says how many steps it had and how it came by them."""
        self.load(training.model)
        first = int(_metadata(resume)["step"]) if resume else 0
        self.trainings.append((training, first))
        if self.failures:
            raise self.failures.pop(0)
        if not all(Path(example.path).is_file() for example in training.examples):
            raise TooFewPictures("a picture is not there")
        losses = []
        for step in range(first + 1, training.steps + 1):
            time.sleep(self.step_seconds)
            self.before_step(step)
            losses.append(2.0 ** -(step - 1))
            watcher.on_step(step, losses[-1])
            if training.sample_every and (step % training.sample_every == 0 or step == training.steps):
                watcher.on_samples(step, [picture(64, 64, sample.seed + step) for sample in training.samples])
            if training.checkpoint_every and step % training.checkpoint_every == 0 and step < training.steps:
                watcher.on_checkpoint(step, _safetensors(step=step))
        adapter = _safetensors(step=training.steps, seed=training.seed, parent=bool(training.parent))
        return Trained(adapter, "fake", losses[0] if losses else 0.0, losses[-1] if losses else 0.0)

    def _seconds(self, batch: Batch) -> float:
        by_batch = self.step_table.get(str(max(batch.width, batch.height)), {})
        return by_batch.get(str(len(batch.requests)), self.step_seconds)


def picture(width: int, height: int, seed: int) -> np.ndarray:
    """A deterministic picture: a colour from the seed, and a gradient over it."""
    colour = np.random.default_rng(seed).integers(40, 200, 3)
    shade = np.linspace(0, 55, width, dtype=np.float32)[None, :, None]
    return np.broadcast_to(colour[None, None, :] + shade, (height, width, 3)).astype(np.uint8)


def _safetensors(**metadata: object) -> bytes:
    """A file without tensors."""
    header = json.dumps({"__metadata__": {name: str(value) for name, value in metadata.items()}}).encode()
    return struct.pack("<Q", len(header)) + header


def _metadata(file: bytes) -> dict[str, str]:
    try:
        return json.loads(file[8 : 8 + struct.unpack("<Q", file[:8])[0]])["__metadata__"]
    except (struct.error, ValueError, KeyError) as error:
        raise EngineError("This is no checkpoint of this training.") from error


def build(device: str, **options: object) -> FakeEngine:
    return FakeEngine(device)
