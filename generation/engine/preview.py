"""Rough pictures from latents: one small matrix in place of the decoder, which costs as much as several steps.

Each model's matrix is fitted on its own decoder when the first preview is asked for, on pictures painted from a fixed
seed, so there is no file of constants that could belong to other weights.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy as np

FIT_PICTURES = 12
FIT_SIDE_PX = 128
# Ridge, as a share of the mean variance of a latent channel: keeps channels that the painted pictures hardly use
# from getting large factors, which would turn noise into colour.
FIT_RIDGE = 0.05


@dataclass(frozen=True, slots=True)
class Projection:
    """Colour of a latent cell: factors (channels, 3) per unit of latent, bias (3,) of the zero latent, 0 to 1."""

    factors: torch.Tensor
    bias: torch.Tensor


class Previewer:
    """Previews of one loaded pipeline. Safe to call from another thread than the one that denoises."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._projection: Projection | None = None
        self._lock = threading.Lock()

    def draw(self, latents: torch.Tensor, height: int, width: int) -> list[np.ndarray]:
        """Rough pictures of a batch.

        Args:
            latents: as the scheduler leaves them, packed or not; any float dtype, any device.
            height, width: of the final picture, in pixels.

        Returns:
            One (latent height, latent width, 3) uint8 array per picture.
        """
        with torch.inference_mode():
            grid = unpack(self._pipe, latents, height, width)
            projection = self.projection()
            return list(latents_to_rgb(grid, projection.factors, projection.bias).numpy())

    def projection(self) -> Projection:
        with self._lock:
            if self._projection is None:
                self._projection = fit(self._pipe)
            return self._projection


def latents_to_rgb(latents: torch.Tensor, factors: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Project latents to colours with one matrix.

    Args:
        latents: (batch, channels, height, width), any float dtype, as the scheduler leaves them.
        factors: (channels, 3), colour per unit of latent; from `fit`.
        bias: (3,), colour of the zero latent, 0 to 1.

    Returns:
        (batch, height, width, 3) uint8 on the CPU. One latent cell is one pixel.

    Raises:
        ValueError: the channel counts differ, that is, the factors belong to another model.
    """
    if latents.shape[1] != factors.shape[0]:
        raise ValueError(f"latents have {latents.shape[1]} channels, factors {factors.shape[0]}")
    colours = torch.einsum("bchw,cr->bhwr", latents.float(), factors.to(latents.device)) + bias.to(latents.device)
    return colours.nan_to_num().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)


def unpack(pipe: Any, latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Latents of any family as (batch, channels, height, width): FLUX and Qwen pack 2 x 2 cells into one token."""
    if latents.ndim == 3:
        latents = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
    return latents[:, :, 0] if latents.ndim == 5 else latents


class CleanEstimate:
    """What the finished latents will be, as far as one step knows: a preview of that is a picture, not noise.

    Costs nothing while denoising: it keeps references to tensors that the sampler made anyway.
    """

    def __init__(self) -> None:
        self._before: torch.Tensor | None = None

    def after_step(self, scheduler: Any, step: int, latents: torch.Tensor) -> torch.Tensor:
        """The estimate after step `step` (0 is the first) left `latents`; same shape, device and dtype family.

        DPM-Solver++ keeps its own estimate (Lu et al. 2022, arXiv:2211.01095, data prediction). Euler samplers move on
        a straight line to it: x0 = x - sigma (x' - x) / (sigma' - sigma), the same for noise and flow models (Karras
        et al. 2022, arXiv:2206.00364, eq. 3). Other samplers, and Euler's first step, whose start nobody
        kept: the latents themselves.
        """
        before, self._before = self._before, latents
        outputs = getattr(scheduler, "model_outputs", None)
        if outputs and str(scheduler.config.get("algorithm_type", "")).endswith("++") and outputs[-1] is not None:
            return outputs[-1]
        if before is None or "Euler" not in type(scheduler).__name__:
            return latents
        sigma, sigma_next = (float(scheduler.sigmas[index]) for index in (step, step + 1))
        if sigma == sigma_next:
            return latents
        return before - sigma * (latents - before) / (sigma_next - sigma)


def fit(pipe: Any) -> Projection:
    """Least squares from latent cells to the mean colour that the decoder gives them; deterministic.

    Pictures of rectangles, ramps and grain are encoded and decoded by the model itself, so that the factors
    match latents as they occur. About 0.1 s for a small decoder on a CPU.
    """
    with torch.inference_mode():
        dtype, device = pipe.vae.dtype, pipe.vae.device
        scaled, cells = [], []
        for picture in paint(FIT_PICTURES, FIT_SIDE_PX).split(4):
            encoded, decoded = _through_vae(pipe, (picture * 2 - 1).to(device, dtype))
            scaled.append(encoded.float().cpu())
            colours = (decoded.float().cpu() / 2 + 0.5).clamp(0, 1)
            cells.append(torch.nn.functional.adaptive_avg_pool2d(colours, encoded.shape[-2:]))
        latents = torch.cat(scaled).permute(0, 2, 3, 1).flatten(0, 2).double()
        colours = torch.cat(cells).permute(0, 2, 3, 1).flatten(0, 2).double()
        centre, middle = latents.mean(0), colours.mean(0)
        covariance = (latents - centre).T @ (latents - centre) / len(latents)
        ridge = FIT_RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
        factors = torch.linalg.solve(covariance + ridge, (latents - centre).T @ (colours - middle) / len(latents))
        return Projection(factors.float(), (middle - centre @ factors).float())


def paint(count: int, side: int) -> torch.Tensor:
    """Pictures of the kind a decoder knows: a colour ramp, rectangles on it, a little grain.

    Returns:
        (count, 3, side, side) float32, 0 to 1, the same on every call.
    """
    random = torch.Generator().manual_seed(20_240_607)
    corners = torch.rand(count, 3, 2, 2, generator=random)
    pictures = torch.nn.functional.interpolate(corners, size=(side, side), mode="bilinear", align_corners=True)
    for picture in pictures:
        for _ in range(6):
            top, left = torch.randint(0, side - side // 8, (2,), generator=random).tolist()
            tall, wide = torch.randint(side // 8, side // 2, (2,), generator=random).tolist()
            picture[:, top : top + tall, left : left + wide] = torch.rand(3, 1, 1, generator=random)
    return (pictures + 0.02 * torch.randn(pictures.shape, generator=random)).clamp(0, 1)


def _through_vae(pipe: Any, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode and decode: ((batch, channels, h, w) latents in the scheduler's scale, (batch, 3, H, W) -1 to 1)."""
    vae, config = pipe.vae, pipe.vae.config
    is_video = config.get("latents_mean") is not None and hasattr(config, "z_dim")
    encoded = vae.encode(pictures.unsqueeze(2) if is_video else pictures)
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    decoded = vae.decode(latents, return_dict=False)[0]
    if is_video:
        shape = (1, config.z_dim, 1, 1, 1)
        mean, std = (
            torch.tensor(values).view(shape).to(latents) for values in (config.latents_mean, config.latents_std)
        )
        return ((latents - mean) / std)[:, :, 0], decoded[:, :, 0]
    return (latents - (config.get("shift_factor") or 0.0)) * config.get("scaling_factor", 1.0), decoded
