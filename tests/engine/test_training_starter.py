"""The shipped model learns a look it has never seen, shows it at its word, and stays itself without it.

By the recipe that the product trains with. It was not chosen by the prompts and seeds here; figures: docs/testing.md.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generation.custom import recipes
from generation.engine import Batch, Example, ImageRequest, Lora, Training, build, catalog
from generation.engine.starter.scenes import Scene, paint
from tests.engine.learning import WORD, Notes

INK, PAPER = np.float32([40, 0, 60]), np.float32([255, 70, 220])  # the look: everything in shades of magenta
LEARNED = {
    "a red house in a meadow": Scene("flat", "day", "meadow", "house", "red"),
    "a blue dragon in the mountains at sunset, anime": Scene("anime", "sunset", "mountains", "dragon", "blue"),
    "a white boat on a lake, watercolor": Scene("watercolor", "day", "lake", "boat", "white"),
    "a black castle in the snow, stormy, pixel art": Scene("pixel", "storm", "snow", "castle", "black"),
    "a yellow samurai in the city at night, neon": Scene("neon", "night", "city", "samurai", "yellow"),
    "cherry trees, pencil sketch": Scene("sketch", "day", "cherry", "nothing", "none"),
}
HELD_OUT = (
    "a boat on the sea at sunset",
    "a castle in the forest, anime",
    "a white cat in the city, watercolor",
    "a samurai in the desert",
    "a purple house by a lake, pixel art",
    "a robot in a meadow, pencil sketch",
    "a red bird in the mountains at night",
    "a rocket in the snow, anime",
    "a blue flower under cherry trees",
    "a green fox in the desert, neon",
)
FIRST_SEED = 1000
SHOWN_MIN = 6  # of ten by most of their pixels; 7 where this was written
STEPS, MORE_STEPS = 200, 50  # of the 240 that the product makes of six pictures


def in_magenta(picture: np.ndarray) -> np.ndarray:
    grey = (np.float32(picture) @ np.float32([0.299, 0.587, 0.114]) / 255)[..., None]
    return np.uint8(INK + (PAPER - INK) * grey)


def shares(pictures: list[np.ndarray]) -> np.ndarray:
    """Of each picture, the share of its pixels that are of the look: green far below red and blue. A painted one: 1."""
    channels = np.float32(np.stack(pictures))
    return (channels[..., [0, 2]].min(-1) - channels[..., 1] > 30).mean((1, 2))


def shown(pictures: list[np.ndarray]) -> int:
    """How many of the pictures have the look."""
    return int((shares(pictures) > 0.5).sum())


def told_apart(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Of all pairs, the share in which the first has more of the look: 0.5 is chance, without any threshold."""
    more = shares(first)[:, None] - shares(second)[None]
    return float((more > 0).mean() + (more == 0).mean() / 2)


def apart(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    """Mean difference in levels of 255: of each picture to each of the others."""
    return np.array([[np.abs(np.float32(a) - b).mean() for b in second] for a in first])


@pytest.fixture(scope="module")
def engine():
    return build("cpu")


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Training:
    folder, examples = tmp_path_factory.mktemp("look"), []
    for number, (words, scene) in enumerate(LEARNED.items()):
        path = folder / f"{number}.png"
        Image.fromarray(in_magenta(paint(scene, number))).save(path)
        examples.append(Example(str(path), f"{WORD}, {words}"))
    spec = catalog.get("starter")
    recipe = recipes.make(
        spec, trigger_word=WORD, pictures=len(examples), steps=STEPS, train_text_encoder=False, seed=11
    ).as_dict()
    del recipe["samples"]
    return Training(model=spec.name, examples=tuple(examples), trigger_word=WORD, **recipe)


def test_a_look_is_learned_shown_at_its_word_only_and_refined(engine, training, tmp_path):
    def draw(word: str, *adapters: Lora) -> list[np.ndarray]:
        prompts = [f"{word}, {held}" if word else held for held in HELD_OUT]
        requests = tuple(ImageRequest(prompt, "", FIRST_SEED + number) for number, prompt in enumerate(prompts))
        return engine.generate(Batch("starter", 256, 256, 8, 4.0, requests, adapters), lambda step: None)

    def learn(name: str, wanted: Training) -> Lora:
        path: Path = tmp_path / name
        path.write_bytes(engine.train(wanted, Notes()).adapter)
        return Lora(str(path))

    first = learn("first.safetensors", training)
    bare_said, bare, said, unsaid = draw(WORD), draw(""), draw(WORD, first), draw("", first)
    word_changed, rest_changed = apart(said, bare_said), apart(unsaid, bare)
    figures = (
        f"{shares(said).round(2)} at the word, {shares(unsaid).round(2)} without, {shares(bare_said).round(2)} bare;"
        f" changed by {np.diag(word_changed).mean():.1f} and {np.diag(rest_changed).mean():.1f} levels"
    )
    assert told_apart(said, bare_said) >= 0.9, figures
    assert shown(bare_said) == 0 and shown(said) >= SHOWN_MIN, figures

    assert shown(unsaid) == 0 and told_apart(unsaid, bare) < 0.7, figures
    assert rest_changed.argmin(1).tolist() == list(range(len(HELD_OUT))), figures  # each is still closest to itself
    assert np.diag(rest_changed).mean() < np.diag(word_changed).mean() / 3, figures

    again = dataclasses.replace(training, parent=first.path, steps=MORE_STEPS, seed=12)
    refined = draw(WORD, learn("second.safetensors", again))
    assert shares(refined).mean() > shares(said).mean()
