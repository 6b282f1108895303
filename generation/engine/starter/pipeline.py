"""The weights folder: written whole and swapped in at once, loaded from disk and nowhere else."""

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from generation.engine.starter.diffusion import build_scheduler


def assemble(
    vae: AutoencoderTiny, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def publish(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Write the pipeline in half precision to `folder`; readers see the old folder or the new one, never a mix.

    Files that are not part of a pipeline, such as a model card, move along. The pipeline given is left in float32.
    """
    fresh, old = folder.with_name(folder.name + ".fresh"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    pipe.to(torch.float16)
    pipe.save_pretrained(fresh, safe_serialization=True)
    pipe.to(torch.float32)
    if folder.exists():
        for card in folder.glob("*.md"):
            shutil.copy2(card, fresh)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load(folder: Path, pipeline_class: Any = StableDiffusionPipeline) -> Any:
    """Load in float32 for the CPU, offline.

    Raises:
        FileNotFoundError: there is no pipeline in `folder`. Asked for an unknown folder the library would go online.
    """
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"no pipeline in {folder}")
    pipe = pipeline_class.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, safety_checker=None
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
