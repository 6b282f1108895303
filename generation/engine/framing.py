"""From the one size a model draws well to the size that was asked for: cut to shape, then enlarged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    import numpy as np

Size = tuple[int, int]  # (width, height)
# Of what a wide picture loses, this share goes at the top: the subject stands on the ground.
CUT_ABOVE = 0.6


def box(drawn: Size, wanted: Size) -> tuple[int, int, int, int]:
    """The largest part of `drawn` with the shape of `wanted`: (left, top, right, bottom), the middle of the width."""
    scale = max(wanted[0] / drawn[0], wanted[1] / drawn[1])
    width, height = (min(side, round(want / scale)) for side, want in zip(drawn, wanted, strict=True))
    left, top = (drawn[0] - width) // 2, round((drawn[1] - height) * CUT_ABOVE)
    return left, top, left + width, top + height


def fit(pictures: torch.Tensor, wanted: Size) -> torch.Tensor:
    """Cut and enlarge finished pictures.

    Args:
        pictures: (batch, 3, height, width), float, 0 to 1.
        wanted: width and height in pixels.

    Returns:
        (batch, 3, wanted height, wanted width), same dtype and device; bicubic may overshoot 0 to 1 a little.
    """
    height, width = pictures.shape[-2:]
    if (width, height) == wanted:
        return pictures
    left, top, right, bottom = box((width, height), wanted)
    part = pictures[..., top:bottom, left:right]
    return interpolate(part, size=(wanted[1], wanted[0]), mode="bicubic", antialias=True)


def cut(rough: np.ndarray, wanted: Size) -> np.ndarray:
    """The part of a rough picture, (height, width, 3), that the finished one will show; not enlarged."""
    height, width = rough.shape[:2]
    left, top, right, bottom = box((width, height), wanted)
    return rough[top:bottom, left:right]
