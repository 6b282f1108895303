"""What the architectures of the catalogue cost on this card: random weights, real shapes, no download.

    python benchmarks/gpu_qwen.py [--models qwen,sdxl,sd15] [--runs 10] [--compile]

Qwen-Image (its transformer's defaults are the real 20 B), SDXL and SD 1.5 are built on the device with small normal
weights, not zeros, which multiply faster. Prompts are random embeddings: text encoders are left out. Printed: seconds
of `pipe()` for each image at batch 1, 2, 3, 4, 8, the decoder included; peak memory; and the denoiser's rate as a share
of what this very run reached in a large matrix product. The weights know nothing, so there is nothing to look at.
Without a GPU the script says that nothing was measured; `--quick` builds toys of the same classes, to show it works.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.support import figures

WARM_UPS = 3
BATCHES = (1, 2, 3, 4, 8)
GEMM_SIDE = 8192
GOALS = {False: 0.95, True: 0.60}  # Qwen, 1024 px, 4 steps: eager, compiled; the floor is 0.38 (`research/` 3)
STD = 0.02


@dataclass(frozen=True)
class Shape:
    """One pipeline: its sizes, and how it is called."""

    name: str
    sides: tuple[int, ...]
    steps: int
    build: Callable[[bool, torch.device, torch.dtype], Any]
    words: Callable[[Any, int, bool], dict[str, Any]]
    call: dict[str, Any]


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--models", default="qwen,sdxl,sd15")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="compile the repeated block")
    options = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    card = torch.cuda.get_device_name() if has_gpu else "no GPU"
    report = figures.Report(f"architectures with random weights on {card}")
    if not has_gpu:
        report.skip("every figure of a card", "there is no GPU here")
        if not options.quick:
            return report.end(is_strict=options.strict)
        options.runs = 1
    device = torch.device("cuda" if has_gpu else "cpu")
    dtype = torch.bfloat16 if has_gpu else torch.float32
    is_toy = options.quick
    peak = gemm_rate(device, dtype, 256 if is_toy else GEMM_SIDE)
    report.say(f"       matrix product of this run: {peak / 1e12:.2f} TFLOP/s")
    for shape in [shape for shape in SHAPES if shape.name in options.models.split(",")]:
        measure(report, shape, device, dtype, peak, options, is_toy)
    return report.end(is_strict=options.strict)


def measure(
    report: Any, shape: Shape, device: torch.device, dtype: torch.dtype, peak: float, options: argparse.Namespace,
    is_toy: bool,
) -> None:  # fmt: skip
    pipe = shape.build(is_toy, device, dtype)
    if options.compile and device.type == "cuda":
        (getattr(pipe, "transformer", None) or pipe.unet).compile_repeated_blocks(dynamic=True)
    for side in (64,) if is_toy else shape.sides:
        alone: list[float] = []
        for count in BATCHES[:2] if is_toy else BATCHES:
            try:
                seconds = [run(pipe, shape, side, count, is_toy) for _ in range(options.runs + (not is_toy) * WARM_UPS)]
            except torch.OutOfMemoryError:
                report.say(f"       {shape.name} {side} px, batch {count}: does not fit")
                break
            seconds = seconds[-options.runs :]
            alone = alone or seconds
            name = f"{shape.name} {side} px, {shape.steps} steps, batch {count}: a picture"
            report.show(name, [value / count for value in seconds])
            report.hold(f"{name} / at batch 1", figures.pairwise_ratios([v / count for v in seconds], alone))
        flops = flops_of_a_step(pipe, shape, side, is_toy) * shape.steps
        rate = flops / statistics.median(alone)
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0
        report.say(
            f"       {shape.name} {side} px: {flops / 1e12:.1f} TFLOP a picture, {100 * rate / peak:.0f} % of this"
            f" run's matrix product; peak memory {memory:.1f} GiB"
        )
        if shape.name == "qwen" and side == 1024 and not is_toy:
            goal, found = GOALS[options.compile], statistics.median(alone)
            report.demand(f"Qwen-Image 1024 px, 4 steps: {found:.3f} s, at most {goal:.2f} s", found <= goal)
    del pipe
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def run(pipe: Any, shape: Shape, side: int, count: int, is_toy: bool) -> float:
    with torch.inference_mode():
        arguments = shape.words(pipe, count, is_toy)
        generator = [torch.Generator("cpu").manual_seed(seed) for seed in range(count)]
        synchronize(pipe)
        began = time.perf_counter()
        steps = 2 if is_toy else shape.steps
        pipe(width=side, height=side, num_inference_steps=steps, generator=generator, output_type="pt",
             **shape.call, **arguments)  # fmt: skip
        synchronize(pipe)
        return time.perf_counter() - began


def synchronize(pipe: Any) -> None:
    if pipe.device.type == "cuda":
        torch.cuda.synchronize()


def gemm_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP per second of a square product with normal values, the best of ten."""
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        one @ other
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def flops_of_a_step(pipe: Any, shape: Shape, side: int, is_toy: bool) -> float:
    """Counted, not estimated: one step of one picture, guidance included, the decoder left out."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        generator = [torch.Generator("cpu").manual_seed(0)]
        pipe(width=side, height=side, num_inference_steps=1, generator=generator, output_type="latent",
             **shape.call, **shape.words(pipe, 1, is_toy))  # fmt: skip
    return float(counter.get_total_flops())


# --- The pipelines --------------------------------------------------------------------------------------------------
def filled(kind: Any, device: torch.device, dtype: torch.dtype, **config: Any) -> Any:
    """A module of real size that never was on the CPU, with small normal weights."""
    with torch.device("meta"):
        module = kind(**config)
    module = module.to(dtype).to_empty(device=device)
    with torch.no_grad():
        for weight in (*module.parameters(), *module.buffers()):
            if weight.is_floating_point():
                weight.normal_(0, STD)
            else:
                weight.zero_()
    refresh_tables(module)
    return module.eval()


def refresh_tables(module: Any) -> None:
    """Tables that are computed, not learned, were lost with the CPU; build them again."""
    for name, child in module.named_children():
        if hasattr(child, "rope_params") and hasattr(child, "axes_dim"):
            setattr(module, name, type(child)(theta=child.theta, axes_dim=list(child.axes_dim), scale_rope=True))


def build_qwen(is_toy: bool, device: torch.device, dtype: torch.dtype) -> Any:
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )

    small = {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2, "axes_dims_rope": (4, 4, 8)}
    transformer = filled(QwenImageTransformer2DModel, device, dtype, **(small if is_toy else {}))
    vae = filled(AutoencoderKLQwenImage, device, dtype, **({"base_dim": 8, "num_res_blocks": 1} if is_toy else {}))
    pipe = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=vae, text_encoder=None,
        tokenizer=None, transformer=transformer,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def qwen_words(pipe: Any, count: int, is_toy: bool) -> dict[str, Any]:
    width = pipe.transformer.config.joint_attention_dim
    embeds = torch.randn(count, 16 if is_toy else 128, width, device=pipe.device, dtype=pipe.transformer.dtype)
    return {"prompt_embeds": embeds, "prompt_embeds_mask": torch.ones(embeds.shape[:2], device=pipe.device).long()}


def build_sdxl(is_toy: bool, device: torch.device, dtype: torch.dtype) -> Any:
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    unet: dict[str, Any] = {
        "sample_size": 128, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }  # fmt: skip
    if is_toy:
        unet |= {"block_out_channels": (32, 32, 32), "transformer_layers_per_block": 1, "attention_head_dim": 2}
    pipe = StableDiffusionXLPipeline(
        vae=filled(AutoencoderKL, device, dtype, **vae_config(is_toy, 0.13025)), text_encoder=None, text_encoder_2=None,
        tokenizer=None, tokenizer_2=None, unet=filled(UNet2DConditionModel, device, dtype, **unet),
        scheduler=EulerDiscreteScheduler(timestep_spacing="trailing"), force_zeros_for_empty_prompt=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sdxl_words(pipe: Any, count: int, is_toy: bool) -> dict[str, Any]:
    like = {"device": pipe.device, "dtype": pipe.unet.dtype}
    pooled = torch.randn(count, 1280, **like)
    return {"prompt_embeds": torch.randn(count, 77, 2048, **like), "pooled_prompt_embeds": pooled}


def build_sd15(is_toy: bool, device: torch.device, dtype: torch.dtype) -> Any:
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel

    unet: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768}
    if is_toy:
        unet |= {"block_out_channels": (32, 32, 32, 32), "attention_head_dim": 2, "layers_per_block": 1}
    pipe = StableDiffusionPipeline(
        vae=filled(AutoencoderKL, device, dtype, **vae_config(is_toy, 0.18215)), text_encoder=None, tokenizer=None,
        unet=filled(UNet2DConditionModel, device, dtype, **unet),
        scheduler=DPMSolverMultistepScheduler(steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd15_words(pipe: Any, count: int, is_toy: bool) -> dict[str, Any]:
    like = {"device": pipe.device, "dtype": pipe.unet.dtype}
    names = ("prompt_embeds", "negative_prompt_embeds")
    return {name: torch.randn(count, 77, 768, **like) for name in names}


def vae_config(is_toy: bool, scale: float) -> dict[str, Any]:
    channels = (32, 32, 32, 32) if is_toy else (128, 256, 512, 512)
    return {
        "block_out_channels": channels, "down_block_types": ("DownEncoderBlock2D",) * 4, "latent_channels": 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "scaling_factor": scale,
    }  # fmt: skip


SHAPES = (
    Shape("qwen", (512, 1024), 4, build_qwen, qwen_words, {"true_cfg_scale": 1.0}),
    Shape("sdxl", (1024,), 4, build_sdxl, sdxl_words, {"guidance_scale": 1.0}),
    Shape("sd15", (512,), 20, build_sd15, sd15_words, {"guidance_scale": 7.5}),
)

if __name__ == "__main__":
    sys.exit(main())
