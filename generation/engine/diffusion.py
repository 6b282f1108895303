"""One driver for every text-to-image pipeline of diffusers. What differs between models stands in the catalogue."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from generation.engine import (
    Batch,
    DeviceLost,
    EngineError,
    ImageRequest,
    LoadedModel,
    OutOfMemory,
    Step,
    Trained,
    Training,
    Watcher,
)
from generation.engine.calls import call_arguments, check_batch, to_pixels
from generation.engine.catalog import ModelSpec
from generation.engine.framing import cut, fit
from generation.engine.levers import Levers
from generation.engine.loading import Shelf, load
from generation.engine.loras import Loras
from generation.engine.preview import CleanEstimate, Previewer
from generation.engine.training import Lesson, check_training, follow, precision
from generation.engine.words import Words

if TYPE_CHECKING:
    import numpy as np

TRAINING_SHARE = 1.5  # what a training may need, in what drawing with the model needs; an estimate


class DiffusionEngine:
    """The `Engine` of one device. One call at a time uses the device; encoding prompts ahead does not count."""

    def __init__(self, device: str, shelf: Shelf, *, threads: int | None = None, levers: Levers | None = None) -> None:
        _check_device(device)
        self.device = device
        self._shelf = shelf
        self._levers = levers or Levers()
        self._resident: dict[str, tuple[Any, LoadedModel, Previewer]] = {}
        self._words: dict[str, Words] = {}
        self._loras: dict[str, Loras] = {}
        # A pipeline's sampler holds the state of the running call, so a device has one call at a time.
        self._turn = threading.RLock()
        if threads is not None:
            torch.set_num_threads(threads)
        self.hardware, self.memory_bytes = _describe(device)

    def is_loaded(self, model: str) -> bool:
        return model in self._resident

    def resident(self) -> list[LoadedModel]:
        return [loaded for _, loaded, _ in list(self._resident.values())]

    def load(self, model: str) -> LoadedModel:
        with self._turn:
            if model not in self._resident:
                with _device_errors_named():
                    pipe, loaded = load(self._shelf, model, self.device, self._levers)
                self._words[model] = Words(pipe, self._shelf.spec(model), self._levers.prompt_cache_bytes)
                self._loras[model] = Loras(pipe, self._levers.loras_max, model)
                self._resident[model] = (pipe, loaded, Previewer(pipe))
            return self._resident[model][1]

    def unload(self, model: str) -> None:
        with self._turn:
            for shelf in (self._resident, self._words, self._loras):
                shelf.pop(model, None)
            gc.collect()
            _give_memory_back()

    def bucket(self, model: str, request: ImageRequest) -> int:
        width, words = self._shelf.spec(model).prompt_bucket_tokens, self._words.get(model)
        return words.length(request.prompt) // width if width and words else 0

    def prepare(self, batch: Batch) -> None:
        words, loras = self._words.get(batch.model), self._loras.get(batch.model)
        if words is None or loras is None or not words.keeps_any:
            return
        with words.lock, _device_errors_named():
            # The encoders wear the adapters of the batch that is being drawn; they are not ours to change.
            if loras.active == batch.adapters:
                words.arguments(batch)

    def generate(self, batch: Batch, on_step: Callable[[Step], None]) -> list[np.ndarray]:
        """See `Engine.generate`."""
        spec = self._shelf.spec(batch.model)
        check_batch(batch, spec)
        with self._turn:
            self.load(batch.model)
            pipe, _, previewer = self._resident[batch.model]
            # A fresh sampler each time: nothing of a canceled or failed call can reach the next one.
            pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
            with torch.inference_mode(), _device_errors_named():
                try:
                    pictures = pipe(
                        **self._prompts(batch),
                        **call_arguments(batch, spec),
                        callback_on_step_end=_callback(batch, spec, previewer, on_step),
                        output_type="pt",
                    ).images
                except BaseException:
                    pipe.maybe_free_model_hooks()
                    raise
                return to_pixels(fit(pictures, (batch.width, batch.height)))

    def train(self, training: Training, watcher: Watcher, *, resume: bytes = b"") -> Trained:
        """See `Engine.train`."""
        spec = self._shelf.spec(training.model)
        check_training(training, spec)
        dtype = precision(self.device)
        levers = Levers(channels_last=self._levers.channels_last, attention=self._levers.attention)
        # The libraries draw weights that are replaced at once from everybody's chance.
        with self._turn, torch.random.fork_rng(), _device_errors_named():
            self._make_room(spec)
            try:
                pipe, base = load(self._shelf, training.model, self.device, levers, dtype=dtype)
                return follow(Lesson(pipe, base, spec, training, dtype), watcher, resume)
            finally:
                pipe = None
                gc.collect()
                _give_memory_back()

    def _make_room(self, spec: ModelSpec) -> None:
        """A training has weights of its own; where they do not fit beside those to draw with, these have to go."""
        held = sum(loaded.bytes for loaded in self.resident())
        if self.memory_bytes and held + TRAINING_SHARE * spec.memory_bytes > self.memory_bytes:
            for loaded in self.resident():
                self.unload(loaded.name)

    def _prompts(self, batch: Batch) -> dict[str, Any]:
        words = self._words[batch.model]
        with words.lock:
            self._loras[batch.model].use(batch.adapters)
            return words.arguments(batch)


def _callback(
    batch: Batch, spec: ModelSpec, previewer: Previewer, on_step: Callable[[Step], None]
) -> Callable[..., dict[str, Any]]:
    estimate = CleanEstimate()
    width, height = spec.drawn_size(batch.width, batch.height)
    wanted = (batch.width, batch.height)

    def after_step(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        clean = estimate.after_step(pipe.scheduler, index, tensors["latents"])
        on_step(
            Step(
                done=index + 1,
                total=pipe.num_timesteps,
                preview=lambda: [cut(rough, wanted) for rough in previewer.draw(clean, height, width)],
            )
        )
        return {}

    return after_step


@contextlib.contextmanager
def _device_errors_named() -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        _give_memory_back()
        raise OutOfMemory("The batch does not fit into the device's memory.") from error
    except RuntimeError as error:
        # Neither the CPU's allocator nor every driver has an exception of its own.
        words = str(error)
        if "can't allocate memory" in words or "out of memory" in words:
            raise OutOfMemory("The batch does not fit into memory.") from error
        if "CUDA error" in words:
            raise DeviceLost("The device answers no call any more.") from error
        raise


def _give_memory_back() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _check_device(device: str) -> None:
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return
    if kind != "cuda" or (index and not index.isdigit()):
        raise EngineError(f"{device!r} is no device; use cpu, cuda or cuda:N.")
    if int(index or 0) >= torch.cuda.device_count():
        raise EngineError(f"There is no device {device!r} here: torch sees {torch.cuda.device_count()}.")


def _describe(device: str) -> tuple[str, int]:
    """What the device is called, and its memory in bytes."""
    if device != "cpu":
        properties = torch.cuda.get_device_properties(device)
        return str(properties.name), int(properties.total_memory)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads", memory
