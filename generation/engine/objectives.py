"""What a denoiser is asked while it learns, for every family: which noise, which answer, how it is called.

A noisy picture is x = signal * clean + spread * noise. Diffusion models take signal^2 + spread^2 = 1 (Ho et al. 2020,
arXiv:2006.11239) and answer with the noise or with v = signal * noise - spread * clean (Salimans and Ho 2022,
arXiv:2202.00512); flow models take signal + spread = 1 and answer with noise - clean (Lipman et al. 2022,
arXiv:2210.02747; Liu et al. 2022, arXiv:2209.03003).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from generation.engine import EngineError
from generation.engine.words import MASK

EPSILON, VELOCITY, FLOW = "epsilon", "v_prediction", "flow"


@dataclass(frozen=True, slots=True)
class Path:
    """From clean to noise, as one sampler goes it. Levels run from 0, clean, to 1, noise, as it spaces them."""

    kind: str
    alphas: torch.Tensor  # (timesteps,) float32 cumulative products; of flow models: empty
    shift: Callable[[torch.Tensor], torch.Tensor]

    def times(self, levels: torch.Tensor) -> torch.Tensor:
        """What the denoiser is told, (batch,): whole timesteps, or the share of noise."""
        if self.kind == FLOW:
            return self.shift(levels)
        last = len(self.alphas) - 1
        return (levels * last).round().long().clamp(0, last)

    def shares(self, times: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(signal, spread) at these times, each shaped to be multiplied with `like` (batch, ...)."""
        if self.kind == FLOW:
            signal, spread = 1 - times, times
        else:
            kept = self.alphas[times]
            signal, spread = kept.sqrt(), (1 - kept).sqrt()
        shape = (-1, *[1] * (like.ndim - 1))
        return signal.view(shape).to(like), spread.view(shape).to(like)

    def noisy(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        signal, spread = self.shares(times, clean)
        return signal * clean + spread * noise

    def answer(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What the denoiser should say."""
        if self.kind == FLOW:
            return noise - clean
        if self.kind == EPSILON:
            return noise
        signal, spread = self.shares(times, clean)
        return signal * noise - spread * clean

    def parts(self, noisy: torch.Tensor, said: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(clean, noise) as an answer means them."""
        signal, spread = self.shares(times, noisy)
        if self.kind == FLOW:
            return noisy - spread * said, noisy + signal * said
        if self.kind == EPSILON:
            return (noisy - spread * said) / signal.clamp(min=0.01), said
        return signal * noisy - spread * said, spread * noisy + signal * said


def path_of(pipe: Any, tokens: int) -> Path:
    """The path of a pipeline's sampler.

    Args:
        tokens: of a latent picture, for samplers that put more noise into larger ones.

    Raises:
        EngineError: a sampler of another kind.
    """
    scheduler, config = pipe.scheduler, pipe.scheduler.config
    if "FlowMatch" in type(scheduler).__name__:
        return Path(FLOW, torch.empty(0), _shift(config, tokens))
    kind = config.get("prediction_type", EPSILON)
    if kind not in (EPSILON, VELOCITY) or not hasattr(scheduler, "alphas_cumprod"):
        raise EngineError(f"A model with the sampler {type(scheduler).__name__} ({kind}) cannot be trained here.")
    return Path(kind, scheduler.alphas_cumprod.float().cpu(), lambda levels: levels)


def _shift(config: Any, tokens: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Esser et al. 2024, arXiv:2403.03206, section 5.3.2; the same formula as in FlowMatchEulerDiscreteScheduler."""
    factor = float(config.get("shift") or 1.0)
    if config.get("use_dynamic_shifting"):
        low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        slope = (config.get("max_shift", 1.15) - config.get("base_shift", 0.5)) / (high - low)
        moved = config.get("base_shift", 0.5) + slope * (tokens - low)
        factor = math.exp(moved) if config.get("time_shift_type", "exponential") == "exponential" else moved
    return lambda levels: factor * levels / (1 + (factor - 1) * levels)


@dataclass(frozen=True, slots=True)
class Asking:
    """How the denoiser of a pipeline is called while it learns pictures of one size, `side` pixels square."""

    pipe: Any
    family: str
    side: int
    dtype: torch.dtype

    @property
    def is_packed(self) -> bool:
        """FLUX and Qwen-Image: 2 x 2 cells are one token."""
        return self.family in ("FluxPipeline", "QwenImagePipeline")

    def pack(self, latents: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) as the denoiser reads it."""
        return self.pipe._pack_latents(latents, *latents.shape) if self.is_packed else latents

    def __call__(self, noisy: torch.Tensor, times: torch.Tensor, words: dict[str, torch.Tensor]) -> torch.Tensor:
        """The denoiser's answer in float32, shaped as `noisy`.

        Args:
            noisy: (batch, channels, height, width), or (batch, tokens, channels) for the packed families.
            times: (batch,) from `Path.times`.
            words: as `words.together` makes them.
        """
        device = noisy.device
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            times = times.to(device) if self.is_packed is False else times.to(device, self.dtype)
            said = self._ask(noisy.to(self.dtype), times, words)
        return said.float()

    def _ask(self, noisy: torch.Tensor, times: torch.Tensor, words: dict[str, torch.Tensor]) -> torch.Tensor:
        text = words["prompt_embeds"]
        if self.family == "FluxPipeline":
            return self._ask_flux(noisy, times, words)
        if self.family == "QwenImagePipeline":
            cells = self.side // self.pipe.vae_scale_factor // 2
            return self.pipe.transformer(
                hidden_states=noisy,
                timestep=times,
                encoder_hidden_states=text,
                encoder_hidden_states_mask=words.get(MASK),
                img_shapes=[[(1, cells, cells)]] * len(noisy),
                return_dict=False,
            )[0]
        added = {}
        if self.family == "StableDiffusionXLPipeline":
            sizes = torch.tensor([[self.side, self.side, 0, 0, self.side, self.side]], device=noisy.device)
            added = {
                "added_cond_kwargs": {
                    "text_embeds": words["pooled_prompt_embeds"],
                    "time_ids": sizes.repeat(len(noisy), 1).to(self.dtype),
                }
            }
        return self.pipe.unet(noisy, times, encoder_hidden_states=text, return_dict=False, **added)[0]

    def _ask_flux(self, noisy: torch.Tensor, times: torch.Tensor, words: dict[str, torch.Tensor]) -> torch.Tensor:
        text, transformer = words["prompt_embeds"], self.pipe.transformer
        cells = self.side // self.pipe.vae_scale_factor // 2
        places = self.pipe._prepare_latent_image_ids(len(noisy), cells, cells, noisy.device, self.dtype)
        guidance = torch.ones(len(noisy), device=noisy.device) if transformer.config.guidance_embeds else None
        return transformer(
            hidden_states=noisy,
            timestep=times,
            guidance=guidance,
            pooled_projections=words["pooled_prompt_embeds"],
            encoder_hidden_states=text,
            txt_ids=torch.zeros(text.shape[1], 3, device=noisy.device, dtype=self.dtype),
            img_ids=places,
            return_dict=False,
        )[0]


FAMILIES = frozenset({"StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline", "QwenImagePipeline"})
