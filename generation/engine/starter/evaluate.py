"""Figures and pictures that say how well the starter model listens.

`python -m generation.engine.starter.evaluate` prints, for prompts whose meaning training never saw, how often the probe
finds in the picture what the prompt asked for, and the same pictures scored against the prompt of their neighbour.
"""

import argparse
import logging
import os
import random
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before diffusers: a mistyped folder must never become a look-up

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from generation.engine.starter import WEIGHTS
from generation.engine.starter.autoencoder import read_projection
from generation.engine.starter.captions import caption
from generation.engine.starter.pipeline import load
from generation.engine.starter.probe import Probe, Projection, draw_painted, labels_of, score, train_probe
from generation.engine.starter.scenes import draw_split
from generation.engine.starter.store import encode

logger = logging.getLogger(__name__)
BARS = {"style": 0.9, "time": 0.85, "place": 0.7, "subject": 0.6, "colour": 0.6}

PROMPTS = (
    "a beautiful sunset over mountains",
    "a blue dragon in anime style",
    "cherry trees by a lake, watercolor style",
    "a city skyline at night, neon cyberpunk",
    "a red house in a meadow by day",
    "a green robot in the desert, pixel art",
    "an orange cat in the snow at night",
    "pencil sketch of a lighthouse by the sea",
    "a purple castle in the mountains at sunset",
    "a cyberpunk samurai with neon lights",
    "a pink flower in a storm, watercolor",
    "a white rocket in the desert at night",
    "a black cat in a forest, anime",
    "a yellow bird among cherry blossoms",
    "a red boat on a lake at sunset, watercolor painting",
    "an orange fox in the snow, pixel art",
    "a robot in the city at night, neon",
    "snowy forest at night, watercolor",
    "a blue house by the ocean in a thunderstorm",
    "sketch of a green dragon in the mountains",
    "masterpiece, best quality, sakura trees, pixel art",
    "a golden retriever playing football",
    "a purple samurai in a field at sunset, anime",
    "desert dunes under the stars",
)
STEPS = 8
GUIDANCE = 4.0  # the default of the product


def generate(pipe: StableDiffusionPipeline, prompts: list[str], seed: int, **options) -> list[Image.Image]:
    """One picture a prompt; picture k uses seed + k, so a picture does not depend on its neighbours."""
    generators = [torch.Generator("cpu").manual_seed(seed + index) for index in range(len(prompts))]
    options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "height": 256, "width": 256} | options
    return pipe(prompts, generator=generators, **options).images


def contact_sheet(pipe: StableDiffusionPipeline, seed: int = 100) -> Image.Image:
    """The 24 fixed prompts, 6 a row, unpicked: seed 100 onwards."""
    pictures = [p for k in range(0, len(PROMPTS), 8) for p in generate(pipe, list(PROMPTS[k : k + 8]), seed + k)]
    sheet = Image.new("RGB", (6 * 200, 4 * 200))
    for index, picture in enumerate(pictures):
        sheet.paste(picture.resize((200, 200), Image.Resampling.LANCZOS), (index % 6 * 200, index // 6 * 200))
    return sheet


def follow(
    pipe: StableDiffusionPipeline, probe: Probe, projection: Projection, count: int, **options
) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of `count` pictures against their own held-out prompts, and against those of their neighbours."""
    rng = random.Random(2024)
    scenes = [draw_split(rng, is_held_out=True) for _ in range(count)]
    prompts, latents = [caption(scene, rng) for scene in scenes], []
    for start in range(0, count, 8):
        for picture in generate(pipe, prompts[start : start + 8], 5000 + start, **options):
            latents.append(encode(np.asarray(picture), *projection))
    named, labels = probe.name(torch.from_numpy(np.stack(latents))), labels_of(scenes)
    return score(named, labels), score(named, labels.roll(1, 0))


def _cached_probe(path: Path, projection: Projection) -> Probe:
    if path.is_file():
        probe = Probe()
        probe.load_state_dict(torch.load(path, weights_only=True))
        return probe.eval()
    probe = train_probe(projection)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(probe.state_dict(), path)
    return probe


def _line(name: str, shares: dict[str, float]) -> str:
    return f"{name:>10} " + "  ".join(f"{factor} {share:.3f}" for factor, share in shares.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--probe", type=Path, default=Path("var/starter/probe.pt"), help="kept between runs")
    parser.add_argument("--sheet", type=Path, help="where to draw the contact sheet")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pipe = load(arguments.weights)
    projection = read_projection(pipe.vae)
    probe = _cached_probe(arguments.probe, projection)
    latents, labels = draw_painted(500, True, 78, projection)
    logger.info(_line("painted", score(probe.name(latents), labels)))
    started = time.monotonic()
    options = {"num_inference_steps": arguments.steps, "guidance_scale": arguments.guidance}
    own, shuffled = follow(pipe, probe, projection, arguments.prompts, **options)
    logger.info(_line("bars", BARS))
    logger.info(_line("prompts", own))
    logger.info(_line("shuffled", shuffled))
    logger.info("%d pictures in %.0f s", arguments.prompts, time.monotonic() - started)
    if arguments.sheet:
        contact_sheet(pipe).save(arguments.sheet, optimize=True)


if __name__ == "__main__":
    main()
