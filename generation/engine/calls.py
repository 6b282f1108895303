"""What every call of a pipeline has in common, to draw for people and to show what a training has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from generation.engine import Batch, BrokenPictures
from generation.engine.catalog import ModelSpec

if TYPE_CHECKING:
    import numpy as np

REQUESTS_MAX = 64


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
        BrokenPictures: some hold NaN or infinity; carries the others.
    """
    is_fine = torch.isfinite(pictures).flatten(1).all(dim=1).tolist()
    pixels = pictures.nan_to_num().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    made = list(pixels.cpu().numpy())
    if not all(is_fine):
        raise BrokenPictures([picture if fine else None for picture, fine in zip(made, is_fine, strict=True)])
    return made


def call_arguments(batch: Batch, spec: ModelSpec) -> dict[str, Any]:
    """Everything but the words."""
    width, height = spec.drawn_size(batch.width, batch.height)
    return {
        "width": width,
        "height": height,
        "num_inference_steps": batch.num_inference_steps,
        spec.guidance_argument: batch.guidance_scale,
        # One generator per picture and always on the CPU: the noise depends on the seed alone, not on the
        # neighbours in the batch and not on the device.
        "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in batch.requests],
        **spec.call_arguments,
    }
