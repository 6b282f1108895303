"""The painter and its captions: the same scene is the same picture, and words say what is in it."""

import random
from dataclasses import astuple, replace

import numpy as np
import pytest

from generation.engine.starter.captions import caption, meaningless
from generation.engine.starter.scenes import FACTORS, NATURAL, WATERS, Scene, draw_scene, draw_split, paint
from generation.engine.starter.words import (
    COLOUR_WORDS,
    PLACE_NAMES,
    PLACE_WORDS,
    STYLE_TEMPLATES,
    STYLE_WORDS,
    SUBJECT_WORDS,
    TIME_LANDSCAPES,
    TIME_WORDS,
)

CAT = Scene("flat", "day", "meadow", "cat", "orange")
LANDSCAPE = Scene("flat", "day", "meadow", "nothing", "none")


def _scenes(count, seed=3):
    rng = random.Random(seed)
    return [draw_scene(rng) for _ in range(count)]


@pytest.mark.parametrize("scene", _scenes(4), ids=lambda scene: " ".join(astuple(scene)))
def test_a_scene_and_a_seed_are_one_picture(scene):
    assert np.array_equal(paint(scene, 7), paint(scene, 7))


def test_seeds_vary_a_scene():
    assert len({paint(CAT, seed).tobytes() for seed in range(12)}) > 1


@pytest.mark.parametrize(("factor", "value"), [(f, v) for f, values in FACTORS.items() for v in values])
def test_every_value_can_be_painted(factor, value):
    if factor in ("subject", "colour"):
        scene = LANDSCAPE if value in ("nothing", "none") else replace(CAT, **{factor: value})
    else:
        scene = replace(CAT, **{factor: value})
    picture = paint(scene, 1)
    assert picture.shape == (256, 256, 3) and picture.dtype == np.uint8 and picture.std() > 10


@pytest.mark.parametrize("style", FACTORS["style"])
@pytest.mark.parametrize("size", [(384, 256), (256, 384), (512, 384), (512, 512)], ids=str)
def test_every_style_fits_every_size(style, size):
    assert paint(replace(CAT, style=style), 1, size).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("factor", FACTORS)
def test_changing_one_meaning_changes_the_picture(factor):
    other = next(v for v in FACTORS[factor] if v not in (getattr(CAT, factor), "nothing", "none"))
    difference = paint(CAT, 1).astype(int) - paint(replace(CAT, **{factor: other}), 1)
    assert np.abs(difference).mean() > 2


def _says(text, *vocabularies):
    return any(word in text for words in vocabularies for word in words)


def _style_names(style):
    recipes = " ".join(STYLE_TEMPLATES[style]).replace("{}", "").split(",")
    return *STYLE_WORDS[style], *(part.strip() for part in recipes)


def _plain_captions(scene, count=20):
    rng = random.Random(1)
    return [caption(scene, rng, litter_share=0) for _ in range(count)]


def test_a_caption_names_the_style():
    for scene in _scenes(150):
        for text in _plain_captions(scene):
            assert scene.style == "flat" or _says(text, _style_names(scene.style)), text


def test_a_caption_names_the_subject_and_its_colour():
    for scene in (scene for scene in _scenes(150) if scene.subject != "nothing"):
        for text in _plain_captions(scene):
            assert _says(text, SUBJECT_WORDS[scene.subject]), text
            natural = NATURAL[scene.subject][0] == scene.colour
            assert natural or _says(text, (scene.colour,), COLOUR_WORDS[scene.colour]), text


def test_a_caption_names_the_hour_and_the_place():
    for scene in _scenes(150):
        names = {word.removeprefix("a ").removeprefix("the ") for word in PLACE_NAMES[scene.place]}
        natural = scene.subject != "nothing" and NATURAL[scene.subject][1] == scene.place
        for text in _plain_captions(scene):
            assert scene.time == "day" or _says(text, TIME_WORDS[scene.time], TIME_LANDSCAPES[scene.time]), text
            assert natural or _says(text, PLACE_WORDS[scene.place], names), text


def test_boats_stay_on_the_water():
    assert {scene.place for scene in _scenes(3000) if scene.subject == "boat"} == set(WATERS)


def test_the_split_goes_by_meaning_so_no_paraphrase_leaks():
    rng = random.Random(4)
    meanings = {}
    for scene in _scenes(6000, seed=6):
        meanings.setdefault(caption(scene, rng), set()).add(scene)
    assert all(len({scene.is_held_out for scene in scenes}) == 1 for scenes in meanings.values())


def test_training_never_draws_a_held_out_meaning():
    rng = random.Random(8)
    seen = {draw_split(rng, is_held_out=False) for _ in range(2000)}
    kept = {draw_split(rng, is_held_out=True) for _ in range(200)}
    assert not seen & kept and not any(scene.is_held_out for scene in seen)


def test_about_one_meaning_in_twenty_five_is_held_out():
    held = [scene.is_held_out for scene in _scenes(5000)]
    assert 0.025 < sum(held) / len(held) < 0.055


def test_words_without_meaning_name_no_subject():
    subjects = {word for words in SUBJECT_WORDS.values() for word in words}
    rng = random.Random(9)
    assert not any(subjects & set(meaningless(rng).split()) for _ in range(200))
