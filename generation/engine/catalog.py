"""The models an operator can choose, and every limit of theirs. Pure data: nothing here imports torch.

Only what stands here is ever loaded. People choose a name, never a repository or a path. Revisions and hashes
stand in `models.lock`, because they come from files, not from us. Where each fact was looked up, and which could not
be, stands in `docs/operations/models.md`; memory is an estimate until `check_engine` has printed it on a card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

Size = tuple[int, int]
STARTER_WEIGHTS = Path(__file__).parent / "starter" / "weights"
GIB = 2**30
# The families whose text encoders may learn beside the denoiser; those of the others are too large for it.
ENCODER_FAMILIES = frozenset({"StableDiffusionPipeline", "StableDiffusionXLPipeline"})


class UnknownModel(KeyError):
    """No model of that name in the catalogue."""

    def __str__(self) -> str:
        return f"No model called {self.args[0]!r}. There are: {', '.join(CATALOG)}."


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The exact sampler: class name in diffusers and every setting that is not its default.

    Distilled models draw wrong pictures at full speed with any other sampler, so this replaces what the
    repository ships, and loading checks that what runs is equal to it.
    """

    kind: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a second repository gives to a base model, its distillation for instance.

    Either a LoRA, fused into the weights once, at load; or whole weights that lie where the base has its own.
    """

    repository: str
    filename: str
    replaces: str = ""  # path in the model's folder; empty for a LoRA

    @property
    def path(self) -> str:
        """Where it lies in the model's folder."""
        return self.replaces or f"adapter/{self.filename}"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: what it is, where it comes from, how it is called, and what may be asked of it."""

    name: str
    title: str
    description: str
    licence: str
    repository: str  # hub id; empty for a model that is shipped in `folder`
    pipeline: str  # class name in diffusers
    dtype: str  # on an accelerator; the CPU always computes in float32
    memory_bytes: int  # weights plus one picture of the default size
    tokens_max: int  # the text encoder reads no further; start and end marks included

    sizes: tuple[Size, ...]  # (width, height)
    default_size: Size
    steps_min: int
    steps_default: int
    steps_max: int
    guidance_min: float  # 1.0 is "off": the prompt is followed without a second pass
    guidance_default: float
    guidance_max: float
    supports_negative_prompt: bool
    batch_caps: Mapping[Size, int] = field(default_factory=lambda: MappingProxyType({}))

    # What of the repository this pipeline needs; `*` stays inside one folder, and every line must find a file.
    files: tuple[str, ...] = ()
    native_size: Size | None = None  # the one size it draws well: the others are cut and enlarged from it
    folder: Path | None = None
    variant: str | None = None  # "fp16": files are called *.fp16.safetensors
    scheduler: Scheduler | None = None  # None: the one beside the weights, which `models.lock` pins
    adapter: Adapter | None = None
    guidance_argument: str = "guidance_scale"
    call_arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    # Prompts of different length share a batch only behind a mask, which costs the fast attention kernels: those whose
    # tokens, divided by this, give the same number may. 0: this family pads every prompt to one length anyway.
    prompt_bucket_tokens: int = 0
    image_classifier: str = ""  # "package.module:function", see `safety.classifier`

    def drawn_size(self, width: int, height: int) -> Size:
        """The size the model itself works at when this one is asked for."""
        return self.native_size or (width, height)

    def batch_cap(self, width: int, height: int) -> int:
        """Pictures of this size that are worth one run; 1 where batching gains nothing."""
        return self.batch_caps.get((width, height), 1)


def get(name: str) -> ModelSpec:
    """Raises: UnknownModel."""
    try:
        return CATALOG[name]
    except KeyError:
        raise UnknownModel(name) from None


_STARTER_SIZES = ((256, 256), (256, 384), (384, 256), (384, 384), (384, 512), (512, 384), (512, 512))
_STARTER = ModelSpec(
    name="starter",
    title="Starter",
    description="Small painted scenes in seconds, on any computer. Our own model, shipped with TenkaiGen.",
    licence="same as TenkaiGen",
    repository="",
    folder=STARTER_WEIGHTS,
    pipeline="StableDiffusionPipeline",
    dtype="float32",
    memory_bytes=GIB // 4,
    tokens_max=64,
    sizes=_STARTER_SIZES,
    default_size=(256, 256),
    native_size=(256, 256),  # nearly all of its training; larger ones it fills with repeats
    steps_min=1,
    steps_default=8,
    steps_max=30,
    guidance_min=1.0,
    guidance_default=4.0,
    guidance_max=12.0,
    supports_negative_prompt=True,
    batch_caps=MappingProxyType(dict.fromkeys(_STARTER_SIZES, 4)),
)

# Weights in halves of 16 bits only; everything else in these repositories is the same model in another format.
_SD15_FILES = (
    "model_index.json",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json",
    "safety_checker/model.fp16.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "tokenizer/*.json",
    "tokenizer/merges.txt",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
)
_SD15_SIZES = ((512, 512), (512, 768), (768, 512))
_SD15 = ModelSpec(
    name="sd15",
    title="Stable Diffusion 1.5",
    description="The classic: small, quick, and at home on an 8 GB card.",
    licence="CreativeML Open RAIL-M",
    # The first publisher removed the model in 2024; this is the community's copy that diffusers' own pages name.
    repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
    files=_SD15_FILES,
    pipeline="StableDiffusionPipeline",
    dtype="float16",
    variant="fp16",
    memory_bytes=4 * GIB,
    tokens_max=77,
    sizes=_SD15_SIZES,
    default_size=(512, 512),
    steps_min=10,
    steps_default=20,
    steps_max=50,
    guidance_min=1.0,
    guidance_default=7.5,
    guidance_max=15.0,
    supports_negative_prompt=True,
    batch_caps=MappingProxyType(dict.fromkeys(_SD15_SIZES, 4)),
    # The solver of its community of users: 20 steps look like 50 of the shipped one.
    scheduler=Scheduler(
        "DPMSolverMultistepScheduler",
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "steps_offset": 1,
        },
    ),
)

_SDXL_LIGHTNING = ModelSpec(
    name="sdxl-lightning",
    title="SDXL Lightning",
    description="Large pictures in four steps.",
    licence="CreativeML Open RAIL++-M",
    repository="stabilityai/stable-diffusion-xl-base-1.0",
    files=(
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/config.json",
        "text_encoder_2/model.fp16.safetensors",
        "tokenizer/*.json",
        "tokenizer/merges.txt",
        "tokenizer_2/*.json",
        "tokenizer_2/merges.txt",
        "unet/config.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ),
    # Its README: the LoRA is for other base models than SDXL, for SDXL itself the whole UNet is better.
    adapter=Adapter(
        "ByteDance/SDXL-Lightning",
        "sdxl_lightning_4step_unet.safetensors",
        replaces="unet/diffusion_pytorch_model.fp16.safetensors",
    ),
    pipeline="StableDiffusionXLPipeline",
    dtype="float16",
    variant="fp16",
    memory_bytes=10 * GIB,
    tokens_max=77,
    sizes=((1024, 1024), (832, 1216), (1216, 832)),
    default_size=(1024, 1024),
    steps_min=4,
    steps_default=4,
    steps_max=4,
    guidance_min=1.0,
    guidance_default=1.0,
    guidance_max=1.0,
    supports_negative_prompt=False,
    batch_caps=MappingProxyType({(1024, 1024): 4, (832, 1216): 4, (1216, 832): 4}),
    # README of ByteDance/SDXL-Lightning: the base model's Euler sampler with trailing timesteps, no guidance, and the
    # file whose name has the number of steps, no other.
    scheduler=Scheduler(
        "EulerDiscreteScheduler",
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "prediction_type": "epsilon",
            "steps_offset": 1,
            "timestep_spacing": "trailing",
        },
    ),
)

_FLUX_SCHNELL = ModelSpec(
    name="flux-schnell",
    title="FLUX.1 schnell",
    description="Sharp pictures and readable lettering in four steps.",
    licence="Apache 2.0",
    # Free, but since April 2025 only for accounts that have accepted its conditions: fetching needs HF_TOKEN.
    repository="black-forest-labs/FLUX.1-schnell",
    files=(
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "text_encoder_2/config.json",
        "text_encoder_2/model-*.safetensors",
        "text_encoder_2/model.safetensors.index.json",
        "tokenizer/*.json",
        "tokenizer/merges.txt",
        "tokenizer_2/*.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-*.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ),
    pipeline="FluxPipeline",
    dtype="bfloat16",
    memory_bytes=36 * GIB,
    tokens_max=256,
    sizes=((1024, 1024), (832, 1216), (1216, 832)),
    default_size=(1024, 1024),
    steps_min=1,
    steps_default=4,
    steps_max=4,
    guidance_min=1.0,
    guidance_default=1.0,
    guidance_max=1.0,
    supports_negative_prompt=False,
    # diffusers, "Flux", timestep-distilled: not more than 256, where the pipeline's default is 512. Guidance is asked
    # to be 0 there; this model has no input for it (`guidance_embeds` is false), so that 1 is the same.
    call_arguments=MappingProxyType({"max_sequence_length": 256}),
)

_QWEN_IMAGE_LIGHTNING = ModelSpec(
    name="qwen-image-lightning",
    title="Qwen-Image Lightning",
    description="The finest pictures and the best lettering here, in four steps. Needs a data-centre card.",
    licence="Apache 2.0",
    repository="Qwen/Qwen-Image",
    files=(
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/generation_config.json",
        "text_encoder/model-*.safetensors",
        "text_encoder/model.safetensors.index.json",
        "tokenizer/*.json",
        "tokenizer/merges.txt",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-*.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ),
    # README of ModelTC/Qwen-Image-Lightning, news of 10 September 2025; V2.0 is less saturated than V1.0. In 32 bits,
    # for it is added to the weights once: `-bf16` would only be the smaller download.
    adapter=Adapter("lightx2v/Qwen-Image-Lightning", "Qwen-Image-Lightning-4steps-V2.0.safetensors"),
    pipeline="QwenImagePipeline",
    dtype="bfloat16",
    memory_bytes=62 * GIB,
    tokens_max=512,
    prompt_bucket_tokens=32,
    sizes=((1328, 1328), (1664, 928), (928, 1664), (1472, 1104), (1104, 1472), (1584, 1056), (1056, 1584)),
    default_size=(1328, 1328),
    steps_min=4,
    steps_default=4,
    steps_max=4,
    guidance_min=1.0,
    guidance_default=1.0,
    guidance_max=1.0,
    # Left out, `true_cfg_scale` is 4.0: it must be said, and the distillation knows no second pass.
    guidance_argument="true_cfg_scale",
    supports_negative_prompt=False,
    # generate_with_diffusers.py of ModelTC/Qwen-Image-Lightning: shift 3 is what the distillation used.
    scheduler=Scheduler(
        "FlowMatchEulerDiscreteScheduler",
        {
            "base_image_seq_len": 256,
            "base_shift": math.log(3),
            "invert_sigmas": False,
            "max_image_seq_len": 8192,
            "max_shift": math.log(3),
            "num_train_timesteps": 1000,
            "shift": 1.0,
            "shift_terminal": None,
            "stochastic_sampling": False,
            "time_shift_type": "exponential",
            "use_beta_sigmas": False,
            "use_dynamic_shifting": True,
            "use_exponential_sigmas": False,
            "use_karras_sigmas": False,
        },
    ),
)

CATALOG: dict[str, ModelSpec] = {
    spec.name: spec for spec in (_STARTER, _SD15, _SDXL_LIGHTNING, _FLUX_SCHNELL, _QWEN_IMAGE_LIGHTNING)
}
