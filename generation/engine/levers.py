"""What an operator may turn to make a model faster. Nothing here changes what a picture shows, beyond rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from generation.engine import EngineError

# Kernels that torch brings. Those of a hub ("_flash_3_hub", "sage_hub") are downloaded when they are first used.
ATTENTION = frozenset({"native", "_native_cudnn", "_native_efficient", "_native_flash", "_native_math"})
# `research/performance.md` 1.1 and 1.2.
PRECISIONS_REFUSED = {
    "fp8": "a plain cast to 8 bits draws a grid over pictures of a model with a LoRA, and weights that were trained "
    "for it are in no catalogue yet",
    "nunchaku": "its 4-bit kernels refuse data-centre cards of the Hopper kind, it takes no LoRA for Qwen-Image, and "
    "the package of that name on PyPI is another project",
}


@dataclass(frozen=True, slots=True)
class Levers:
    """See `build`, which explains each of them.

    Raises:
        EngineError: a lever that is refused; says why.
    """

    channels_last: bool = True
    compile_blocks: bool = False
    attention: str = ""
    precision: str = ""
    prompt_cache_bytes: int = 64 * 2**20
    loras_max: int = 8

    def __post_init__(self) -> None:
        if self.attention and self.attention not in ATTENTION:
            raise EngineError(f"no attention kernel {self.attention!r} on this machine: {', '.join(sorted(ATTENTION))}")
        if self.precision:
            reason = PRECISIONS_REFUSED.get(self.precision, "there is no such precision")
            raise EngineError(f"{self.precision} is refused: {reason}")

    def apply(self, pipe: Any) -> None:
        """Prepare a pipeline that lies on its device."""
        if self.channels_last:
            _use_channels_last(pipe)
        denoiser = denoiser_of(pipe)
        # A UNet chooses its kernels by itself; the newer transformers ask a register of diffusers.
        if self.attention and getattr(pipe, "transformer", None) is not None:
            denoiser.set_attention_backend(self.attention)
        if self.compile_blocks:
            denoiser.compile_repeated_blocks(dynamic=True)


def denoiser_of(pipe: Any) -> Any:
    return getattr(pipe, "transformer", None) or pipe.unet


def _use_channels_last(pipe: Any) -> None:
    import torch

    for part in ("unet", "vae"):
        module = getattr(pipe, part, None)
        # The autoencoder of Qwen-Image comes from a video model; its five axes have no such layout.
        if module is not None and all(weight.ndim <= 4 for weight in module.parameters()):
            module.to(memory_format=torch.channels_last)
