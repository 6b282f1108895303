"""The two devices that service figures are taken with, and the bare call each is compared to.

The starter model computes for real, on the cores that everything else here uses, too. The sleeping device takes its
time without the processor, as a GPU does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from generation.engine import Batch, ImageRequest, ModelUnavailable, catalog

if TYPE_CHECKING:
    from generation.models import Job

MODEL = "starter"
SLEEPING_SECONDS = 0.6
STEPS = catalog.get(MODEL).steps_default


@dataclass(frozen=True)
class Device:
    """A device by the module that the product would find it in (the setting ENGINE)."""

    name: str
    module: str
    step_seconds: float = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a process with this device needs to be told."""
        return {"ENGINE": self.module, "FAKE_STEP_SECONDS": str(self.step_seconds)}

    def build(self) -> Any:
        """The engine, with its model loaded.

        Raises:
            ModelUnavailable: the weights are not there, or not what `models.lock` says.
        """
        os.environ |= self.environment
        engine = import_module(self.module).build("cpu")
        engine.load(MODEL)
        return engine


STARTER = Device("starter model", "generation.engine")
SLEEPING = Device(f"sleeping device, {SLEEPING_SECONDS} s", "tests.fake_engine", SLEEPING_SECONDS / STEPS)


def available(*devices: Device, skip: Callable[[str, object], None]) -> list[tuple[Device, Any]]:
    """The devices with their engines; what cannot be loaded is named and left out."""
    found = []
    for device in devices:
        try:
            found.append((device, device.build()))
        except ModelUnavailable as error:
            skip(device.name, error)
    return found


def batch_of(job: Job) -> Batch:
    """The work of a job, as its worker hands it to the engine."""
    requests = tuple(
        ImageRequest(job.expanded_prompt, job.negative_prompt, job.seed + place) for place in range(job.count)
    )
    return Batch(job.model, job.width, job.height, job.num_inference_steps, job.guidance_scale, requests)


def bare(engine: Any, batch: Batch) -> object:
    """The call that the documentation of diffusers shows, PIL pictures and all: no callback, no checks."""
    if not hasattr(engine, "_resident"):  # the sleeping device has no pipeline, and nobody listens to its steps
        return engine.generate(batch, lambda step: None)
    import torch

    spec, pipe = catalog.get(batch.model), engine._resident[batch.model][0]
    negative = {"negative_prompt": [request.negative_prompt for request in batch.requests]}
    return pipe(
        [request.prompt for request in batch.requests],
        width=batch.width,
        height=batch.height,
        num_inference_steps=batch.num_inference_steps,
        generator=[torch.Generator("cpu").manual_seed(request.seed) for request in batch.requests],
        **{spec.guidance_argument: batch.guidance_scale},
        **(negative if spec.supports_negative_prompt else {}),
    )
