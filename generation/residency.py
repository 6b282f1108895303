"""Which models a device holds: those that fit; the one used longest ago leaves first, and no more often than needed.

A worker may serve more models than its device holds. It draws up to `RESIDENT_JOBS_MAX` jobs of the models it holds
before it makes room for another that somebody waits for, and nobody waits for that longer than `RESIDENT_SECONDS_MAX`
and the batch that is being drawn.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog
from django.conf import settings

from generation.engine import Engine, LoadedModel, OutOfMemory, catalog

logger = structlog.get_logger(__name__)
MEMORY_SHARE = 0.9  # of a device; the rest is for what the driver and the fragments take


class Residency:
    """The models of one device. `use` belongs to the thread that draws; the rest may be asked by any."""

    def __init__(
        self,
        engine: Engine,
        models: Sequence[str],
        *,
        on_loading: Callable[[str], None],
        on_load: Callable[[LoadedModel], None],
    ) -> None:
        self._engine, self._models = engine, list(models)
        self._on_loading, self._on_load = on_loading, on_load
        self._used_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._drained = 0
        self._held_since = time.monotonic()
        self.loads = self.swaps = 0

    def start(self) -> None:
        """Load what fits together, in the order of the command line; at least the first.

        Raises:
            ModelUnavailable, OutOfMemory: as `Engine.load`.
        """
        for model in self._models:
            if not self._engine.resident() or self._fits(model):
                self.use(model)
        self.swaps = 0

    def use(self, model: str) -> None:
        """Make a model resident, and others leave where it needs their memory.

        Raises:
            ModelUnavailable, OutOfMemory: as `Engine.load`; after the second no other model is left on the device.
        """
        self._used_at[model] = time.monotonic()
        if self._engine.is_loaded(model):
            return
        self._on_loading(model)
        left = self._make_room(model)
        try:
            loaded = self._engine.load(model)
        except OutOfMemory:
            if not self.evict_others(model):
                raise
            left = True
            loaded = self._engine.load(model)
        self.loads += 1
        self.swaps += left
        with self._lock:
            self._drained, self._held_since = 0, time.monotonic()
        logger.info("model_loaded", model=model, seconds=round(loaded.seconds, 1), bytes=loaded.bytes)
        self._on_load(loaded)

    def evict_others(self, model: str) -> bool:
        """Unload everything but one model. Whether there was anything."""
        others = [loaded.name for loaded in self._engine.resident() if loaded.name != model]
        for name in others:
            self._evict(name)
        return bool(others)

    def choices(self) -> list[list[str]]:
        """The models to look for jobs of, the better choice first; one choice where the device holds all it serves."""
        held = [model for model in self._models if self._engine.is_loaded(model)]
        absent = [model for model in self._models if model not in held]
        choices = [absent, held] if self._has_had_its_turn() else [held, absent]
        return [models for models in choices if models]

    def note_drawn(self, jobs: int) -> None:
        with self._lock:
            self._drained += jobs

    def _has_had_its_turn(self) -> bool:
        with self._lock:
            held_for = time.monotonic() - self._held_since
            return self._drained >= settings.RESIDENT_JOBS_MAX or held_for >= settings.RESIDENT_SECONDS_MAX

    def _fits(self, model: str) -> bool:
        return self._held_bytes() + catalog.get(model).memory_bytes <= self._budget

    @property
    def _budget(self) -> int:
        return settings.DEVICE_MEMORY_BYTES or int(self._engine.memory_bytes * MEMORY_SHARE)

    def _held_bytes(self) -> int:
        # A model at work needs more than its weights; the catalogue knows how much, and the larger of both counts.
        return sum(max(loaded.bytes, catalog.get(loaded.name).memory_bytes) for loaded in self._engine.resident())

    def _make_room(self, model: str) -> bool:
        left = False
        while self._engine.resident() and not self._fits(model):
            self._evict(min((loaded.name for loaded in self._engine.resident()), key=self._last_use))
            left = True
        return left

    def _last_use(self, model: str) -> float:
        return self._used_at.get(model, 0.0)

    def _evict(self, model: str) -> None:
        self._engine.unload(model)
        logger.info("model_unloaded", model=model)
