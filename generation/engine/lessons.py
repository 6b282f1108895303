"""What a training learns from, worked out once before it begins: latents, captions, and what must not change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from generation.engine import TooFewPictures, Training
from generation.engine.objectives import Asking, Path

PICTURES_MIN = 3
ANCHOR_LEVELS = 8  # looks at each chain, from noise to picture
ANCHOR_CAPTIONS_MAX = 8
ANCHOR_ROWS = 8  # in one run of the denoiser
# What people ask for who do not mean the trigger word. The empty one is also the other half of every guided step.
EVERYDAY = (
    "",
    "a photo",
    "a drawing",
    "a house by the sea",
    "a portrait of a person",
    "a dog in a park",
    "a city street at night",
    "mountains under a blue sky",
    "a bowl of fruit on a table",
    "a red car",
    "a tree in a field at sunset",
    "a boat on a lake",
    "a castle on a hill, watercolor",
    "a cartoon of a cat, anime",
    "a ship on the sea, pixel art",
    "a pencil sketch of a bird in a forest",
    "a robot in the desert, neon lights",
    "a flower in the snow",
    "a storm over a lake",
    "a rocket at night",
)


def generator(*parts: object) -> torch.Generator:
    """Chance of its own on the CPU, the same for the same parts on every device."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


@dataclass(frozen=True, slots=True)
class Anchors:
    """Places on the way from noise to pictures that the bare model draws without the trigger word, and what it said.

    Whoever holds the learning model to these answers keeps it from spreading what it learns to every prompt, without
    any picture from elsewhere (prior preservation, Ruiz et al. 2023, arXiv:2208.12242, with the denoiser's answers in
    place of finished pictures).
    """

    noisy: torch.Tensor  # (places, ...)
    times: torch.Tensor  # (places,)
    said: torch.Tensor  # as `noisy`, float32
    words: list[int]  # place -> prompt


def read_pictures(training: Training) -> tuple[torch.Tensor, list[str]]:
    """The readable examples: ((examples, 3, side, side) float32 from -1 to 1, their captions).

    Raises:
        TooFewPictures: fewer than `PICTURES_MIN`.
    """
    pictures, captions = [], []
    for example in training.examples:
        picture = _read(example.path, training.resolution)
        if picture is not None:
            pictures.append(picture)
            captions.append(example.caption)
    if len(pictures) < PICTURES_MIN:
        raise TooFewPictures(
            f"A training needs at least {PICTURES_MIN} pictures that can be read; {len(pictures)} can."
        )
    return torch.stack(pictures), captions


def _read(path: str, side: int) -> torch.Tensor | None:
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            square = ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1).float() / 127.5 - 1


def encode_pictures(pipe: Any, pictures: torch.Tensor) -> torch.Tensor:
    """(examples, channels, height, width) float32 latents in the sampler's scale. One picture at a time."""
    vae, config = pipe.vae, pipe.vae.config
    dtype = vae.dtype
    vae.to(torch.float32)  # the autoencoder of SDXL leaves the range of halves
    with torch.no_grad():
        latents = torch.cat([_encode(vae, config, picture[None].to(vae.device)) for picture in pictures])
    vae.to(dtype)
    return latents


def _encode(vae: Any, config: Any, picture: torch.Tensor) -> torch.Tensor:
    is_video = config.get("latents_mean") is not None and hasattr(config, "z_dim")
    encoded = vae.encode(picture.unsqueeze(2) if is_video else picture)
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    if is_video:
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1).to(latents)
            for values in (config.latents_mean, config.latents_std)
        )
        return ((latents - mean) / std)[:, :, 0]
    return (latents - (config.get("shift_factor") or 0.0)) * config.get("scaling_factor", 1.0)


def without(caption: str, trigger_word: str) -> str:
    """The caption as somebody would write it who does not mean the subject."""
    bare = re.sub(rf"\b{re.escape(trigger_word)}\b", " ", caption, flags=re.IGNORECASE)
    return re.sub(r"\s*,(?:\s*,)+|\s+,", ",", " ".join(bare.split())).strip(" ,")


def anchor_prompts(training: Training, captions: Sequence[str]) -> list[str]:
    if not training.trigger_word:
        return []
    bare = dict.fromkeys(without(caption, training.trigger_word) for caption in captions)
    return list(dict.fromkeys((*list(bare)[:ANCHOR_CAPTIONS_MAX], *EVERYDAY)))


@torch.no_grad()
def ask_anchors(asking: Asking, path: Path, words: Sequence[dict[str, Any]], like: torch.Tensor, seed: int) -> Anchors:
    """Walk from noise towards a picture with every prompt, in `ANCHOR_LEVELS` steps without chance (Song et al. 2021,
    arXiv:2010.02502, with sigma 0), and write down what the bare model says on the way.

    Args:
        words: one row per prompt.
        like: (examples, ...) latents; the noise has their shape.
    """
    from generation.engine.words import together

    chance = generator(seed, "anchors")
    noisy_all, times_all, said_all = [], [], []
    places: list[int] = []
    for first in range(0, len(words), ANCHOR_ROWS):
        rows = range(first, min(first + ANCHOR_ROWS, len(words)))
        encoded = together([words[row] for row in rows])
        noise = torch.randn((len(rows), *like.shape[1:]), generator=chance).to(like.device)
        clean = torch.zeros_like(noise)
        for level in range(ANCHOR_LEVELS, 0, -1):
            jitter = torch.rand(len(rows), generator=chance) if level < ANCHOR_LEVELS else torch.ones(len(rows))
            times = path.times((level - 1 + jitter) / ANCHOR_LEVELS)
            noisy = path.noisy(clean, noise, times)
            said = asking(noisy, times, encoded)
            clean, noise = path.parts(noisy, said, times)
            noisy_all.append(noisy)
            times_all.append(times)
            said_all.append(said)
            places += rows
    return Anchors(torch.cat(noisy_all), torch.cat(times_all), torch.cat(said_all), places)
