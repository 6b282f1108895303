"""Real pipelines at toy size, written to a folder in a second: the classes of production, random weights, no download.

The weights are drawn from a fixed seed, so a toy draws the same noise on every machine; it obeys every contract of the
real thing except being worth looking at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from generation.engine import lockfile
from generation.engine.catalog import Adapter, ModelSpec, Scheduler
from generation.engine.diffusion import DiffusionEngine
from generation.engine.loading import Shelf

TEXT_WIDTH = 32
TOKENS_MAX = 16


def spec(name: str = "tiny", **changes: Any) -> ModelSpec:
    """A catalogue entry for a toy; `changes` are fields of `ModelSpec`."""
    fields: dict[str, Any] = {
        "name": name,
        "title": name,
        "description": "a toy",
        "licence": "none",
        "repository": "toys/" + name,
        "pipeline": "StableDiffusionPipeline",
        "dtype": "float32",
        "memory_bytes": 2**24,
        "tokens_max": TOKENS_MAX,
        "sizes": ((64, 64), (64, 96), (96, 64)),
        "default_size": (64, 64),
        "steps_min": 1,
        "steps_default": 3,
        "steps_max": 10,
        "guidance_min": 1.0,
        "guidance_default": 3.0,
        "guidance_max": 10.0,
        "supports_negative_prompt": True,
    }
    return ModelSpec(**(fields | changes))


def shelf(folder: Path, *specs: ModelSpec) -> Shelf:
    """A shelf on `folder` that offers `specs`; whatever lies there is locked as it is now."""
    made = Shelf(folder / "models", folder / "models.lock", {entry.name: entry for entry in specs})
    made.models_dir.mkdir(parents=True, exist_ok=True)
    lock(made)
    return made


def lock(made: Shelf) -> None:
    folders = {name: made.folder(name) for name in made.catalog}
    lockfile.write(made.lock_file, {n: lockfile.describe(folder) for n, folder in folders.items() if folder.is_dir()})


def engine(folder: Path, *specs: ModelSpec) -> DiffusionEngine:
    return DiffusionEngine("cpu", shelf(folder, *specs))


def make_sd(folder: Path) -> None:
    """StableDiffusionPipeline in the starter's shape: pooled text, tiny autoencoder at 1/16, DPM-Solver++."""
    from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        vae=AutoencoderTiny(
            latent_channels=20,
            encoder_block_out_channels=(8,) * 5,
            decoder_block_out_channels=(8,) * 5,
            num_encoder_blocks=(0,) * 5,
            num_decoder_blocks=(1,) * 5,
            upsample_fn="nearest",
        ),
        text_encoder=make_text_encoder(),
        tokenizer=make_tokenizer(folder.parent / (folder.name + "-tokenizer")),
        unet=_unet(channels=20, addition_embed_type="text", addition_embed_type_num_heads=4),
        scheduler=DPMSolverMultistepScheduler(timestep_spacing="trailing", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)


def make_sdxl(folder: Path) -> None:
    """StableDiffusionXLPipeline: two text encoders, size conditioning, a KL autoencoder at 1/8, Euler."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(0)
    tokenizer = make_tokenizer(folder.parent / (folder.name + "-tokenizer"))
    pipe = StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.13025,
        ),
        text_encoder=make_text_encoder(),
        text_encoder_2=make_text_encoder(CLIPTextModelWithProjection),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_unet(
            channels=4,
            cross_attention_dim=2 * TEXT_WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
        ),
        scheduler=EulerDiscreteScheduler(),  # not what Lightning needs: loading has to replace it
    )
    pipe.save_pretrained(folder)


def make_adapter(model: Path, filename: str, *, seed: int = 1, folder: Path | None = None) -> None:
    """A LoRA with visible effect for the UNet of a toy in `model`, written where loading looks for it, or elsewhere."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(model / "unet", local_files_only=True)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights="gaussian", target_modules=["to_q", "to_v"]))
    for name, weight in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    layers = get_peft_model_state_dict(unet)
    folder = folder or model / "adapter"
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name=filename)


LIGHTNING = Scheduler("EulerDiscreteScheduler", {"timestep_spacing": "trailing", "beta_schedule": "scaled_linear"})


def sdxl_spec() -> ModelSpec:
    """As the catalogue describes SDXL Lightning: another sampler, no negative prompt, an adapter to fuse."""
    return spec(
        "tiny-xl",
        pipeline="StableDiffusionXLPipeline",
        scheduler=LIGHTNING,
        adapter=Adapter("toys/adapter", "lightning.safetensors"),
        guidance_max=1.0,
        guidance_default=1.0,
        supports_negative_prompt=False,
    )


def _unet(channels: int, **changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = {
        "sample_size": 4,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 4,
        "norm_num_groups": 8,
        "cross_attention_dim": TEXT_WIDTH,
        "use_linear_projection": True,
    }
    return UNet2DConditionModel(**(settings | changes))


def make_text_encoder(kind: Any = None) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(_vocabulary()),
        hidden_size=TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS_MAX,
        bos_token_id=len(_vocabulary()) - 2,
        eos_token_id=len(_vocabulary()) - 1,
        pad_token_id=len(_vocabulary()) - 1,
    )
    return (kind or CLIPTextModel)(config)


def _vocabulary() -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]


def make_tokenizer(folder: Path) -> Any:
    """CLIPTokenizer of 54 tokens: every letter, every last letter, start and end. No merges: it spells."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(_vocabulary())}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS_MAX, local_files_only=True)
