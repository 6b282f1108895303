"""An engine that is built when it is first needed: a process that may never get any work should not hold torch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from generation.engine import Batch, Engine, ImageRequest, LoadedModel, Step, Trained, Training, Watcher

if TYPE_CHECKING:
    import numpy as np


class LazyEngine:
    """Everything of `Engine`. Before its first work it holds no model, and knows neither memory nor hardware."""

    def __init__(self, device: str, build: Callable[[], Engine]) -> None:
        self.device = device
        self._build, self._lock = build, threading.Lock()
        self._engine: Engine | None = None
        self.hardware, self.memory_bytes = "", 0

    def load(self, model: str) -> LoadedModel:
        return self._built().load(model)

    def is_loaded(self, model: str) -> bool:
        return self._engine.is_loaded(model) if self._engine else False

    def unload(self, model: str) -> None:
        if self._engine:
            self._engine.unload(model)

    def resident(self) -> list[LoadedModel]:
        return self._engine.resident() if self._engine else []

    def bucket(self, model: str, request: ImageRequest) -> int:
        return self._engine.bucket(model, request) if self._engine else 0

    def prepare(self, batch: Batch) -> None:
        if self._engine:
            self._engine.prepare(batch)

    def generate(self, batch: Batch, on_step: Callable[[Step], None]) -> list[np.ndarray]:
        return self._built().generate(batch, on_step)

    def train(self, training: Training, watcher: Watcher, *, resume: bytes = b"") -> Trained:
        return self._built().train(training, watcher, resume=resume)

    def _built(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._build()
                self.hardware, self.memory_bytes = self._engine.hardware, self._engine.memory_bytes
            return self._engine
