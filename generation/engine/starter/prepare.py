"""What stands before the UNet learns anything, and never changes after: the text encoder and the latent projection.

Both are kept in the training folder, so a resumed run speaks the same language as the weights it goes on from.
"""

import logging
import random
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from generation.engine.starter import autoencoder, text
from generation.engine.starter.scenes import draw_split, paint
from generation.engine.starter.tokenizer import build_tokenizer

logger = logging.getLogger(__name__)
PCA_PICTURES = 400


def prepare_text(folder: Path, device: torch.device, steps: int) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Load the tokenizer and the frozen encoder of `folder`, or teach and keep them."""
    if (folder / "config.json").is_file():
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        return tokenizer, encoder.to(device).eval().requires_grad_(False)
    tokenizer = build_tokenizer()
    encoder = text.build_text_encoder(tokenizer)
    accuracy = text.teach_naming(encoder, tokenizer, device, steps)
    logger.info("text names held-out scenes: %s", [round(value, 3) for value in accuracy])
    fresh = folder.with_name(folder.name + ".fresh")
    tokenizer.save_pretrained(fresh)
    encoder.save_pretrained(fresh, safe_serialization=True)
    fresh.rename(folder)  # whole or not at all: a run killed here starts over
    return tokenizer, encoder


def prepare_projection(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Load the projection and bias of `path`, or solve and keep them."""
    if path.is_file():
        return torch.load(path, weights_only=True)
    rng = random.Random(5)
    pictures = np.stack([paint(draw_split(rng, False), seed) for seed in range(PCA_PICTURES)])
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    projection, bias, psnr = autoencoder.solve_projection(values)
    logger.info("linear decoding of the latents: %.1f dB", psnr)
    torch.save((projection, bias), path)
    return projection, bias
