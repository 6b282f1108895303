"""One driver for every text-to-image pipeline of diffusers. What differs between models stands in the catalogue."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from generation.engine import Batch, EngineError, LoadedModel, OutOfMemory, Step
from generation.engine.catalog import ModelSpec
from generation.engine.framing import cut, fit
from generation.engine.loading import Shelf, load
from generation.engine.preview import CleanEstimate, Previewer

if TYPE_CHECKING:
    import numpy as np

REQUESTS_MAX = 64


class DiffusionEngine:
    """The `Engine` of one device. Keeps every model it has loaded; one call at a time uses the device."""

    def __init__(self, device: str, shelf: Shelf, *, threads: int | None = None, channels_last: bool = True) -> None:
        _check_device(device)
        self.device = device
        self._shelf = shelf
        self._channels_last = channels_last
        self._resident: dict[str, tuple[Any, LoadedModel, Previewer]] = {}
        # A pipeline's sampler holds the state of the running call, so a device has one call at a time.
        self._turn = threading.RLock()
        if threads is not None:
            torch.set_num_threads(threads)

    def is_loaded(self, model: str) -> bool:
        return model in self._resident

    def load(self, model: str) -> LoadedModel:
        with self._turn:
            if model not in self._resident:
                with _memory_errors_named():
                    pipe, loaded = load(self._shelf, model, self.device, channels_last=self._channels_last)
                self._resident[model] = (pipe, loaded, Previewer(pipe))
            return self._resident[model][1]

    def generate(self, batch: Batch, on_step: Callable[[Step], None]) -> list[np.ndarray]:
        """See `Engine.generate`."""
        spec = self._shelf.spec(batch.model)
        check_batch(batch, spec)
        with self._turn:
            self.load(batch.model)
            pipe, _, previewer = self._resident[batch.model]
            # A fresh sampler each time: nothing of a canceled or failed call can reach the next one.
            pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
            with torch.inference_mode(), _memory_errors_named():
                try:
                    pictures = pipe(
                        **_arguments(batch, spec),
                        callback_on_step_end=_callback(batch, spec, previewer, on_step),
                        output_type="pt",
                    ).images
                except BaseException:
                    pipe.maybe_free_model_hooks()
                    raise
                return to_pixels(fit(pictures, (batch.width, batch.height)))


def check_batch(batch: Batch, spec: ModelSpec) -> None:
    """Raises: ValueError, when the batch asks for something the catalogue does not offer."""
    if not 1 <= len(batch.requests) <= REQUESTS_MAX:
        raise ValueError(f"a batch holds 1 to {REQUESTS_MAX} requests, not {len(batch.requests)}")
    if (batch.width, batch.height) not in spec.sizes:
        raise ValueError(f"{spec.name} offers no {batch.width}x{batch.height}")
    if not spec.steps_min <= batch.num_inference_steps <= spec.steps_max:
        raise ValueError(f"{spec.name} takes {spec.steps_min} to {spec.steps_max} steps")
    if not spec.guidance_min <= batch.guidance_scale <= spec.guidance_max:
        raise ValueError(f"{spec.name} takes guidance {spec.guidance_min} to {spec.guidance_max}")


def to_pixels(pictures: torch.Tensor) -> list[np.ndarray]:
    """Finished pictures as bytes, converted where they are: a quarter of the copy, and no detour by PIL.

    Args:
        pictures: (batch, 3, height, width), any float dtype and device, 0 to 1.

    Returns:
        One (height, width, 3) uint8 array per picture, on the host, contiguous.

    Raises:
        EngineError: a picture holds NaN or infinity; names which.
    """
    broken = (~torch.isfinite(pictures).flatten(1).all(dim=1)).nonzero().flatten().tolist()
    if broken:
        raise EngineError(f"The model produced no picture for request {broken[0] + 1} of {len(pictures)}.")
    pixels = pictures.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return list(pixels.cpu().numpy())


def _arguments(batch: Batch, spec: ModelSpec) -> dict[str, Any]:
    width, height = spec.drawn_size(batch.width, batch.height)
    arguments: dict[str, Any] = {
        "prompt": [request.prompt for request in batch.requests],
        "width": width,
        "height": height,
        "num_inference_steps": batch.num_inference_steps,
        spec.guidance_argument: batch.guidance_scale,
        # One generator per picture and always on the CPU: the noise depends on the seed alone, not on the
        # neighbours in the batch and not on the device.
        "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in batch.requests],
        **spec.call_arguments,
    }
    if spec.supports_negative_prompt:
        arguments["negative_prompt"] = [request.negative_prompt for request in batch.requests]
    return arguments


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
def _memory_errors_named() -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        _give_memory_back()
        raise OutOfMemory("The batch does not fit into the device's memory.") from error
    except RuntimeError as error:
        # The CPU allocator has no exception of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory("The batch does not fit into memory.") from error


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
