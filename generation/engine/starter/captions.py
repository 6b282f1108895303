"""Captions: many ways to say one scene. A meaning left out is always the default the painter paints.

No style means flat, no time means day, no colour and no place mean the subject's natural ones (`scenes.NATURAL`).
"""

import random
import string

from generation.engine.starter.scenes import NATURAL, Scene
from generation.engine.starter.words import (
    ADJECTIVES,
    BLAME,
    COLOUR_WORDS,
    OPENINGS,
    OTHER_WORDS,
    PLACE_NAMES,
    PLACE_WORDS,
    QUALITY,
    STYLE_RECIPES,
    STYLE_TEMPLATES,
    STYLE_WORDS,
    SUBJECT_WORDS,
    TIME_LANDSCAPES,
    TIME_WORDS,
    VERBS,
)

DEFAULT_STYLE, DEFAULT_TIME, DEFAULT_PLACE = "flat", "day", "meadow"


def caption(scene: Scene, rng: random.Random, litter_share: float = 0.15) -> str:
    """Say the scene in words. Names all of it except defaults, which are sometimes left out.

    Args:
        litter_share: how often words without meaning are dropped in, even into the middle of a name.
    """
    says_style = scene.style != DEFAULT_STYLE or rng.random() < 0.4
    style = rng.choice(STYLE_WORDS[scene.style]) if says_style else ""
    body = _tags(scene, rng) if rng.random() < 0.12 else _sentence(scene, rng)
    is_preset = says_style and rng.random() < 0.25
    text = _template(scene, rng).format(body) if is_preset else _join(style, body, rng)
    if rng.random() < 0.2:
        text += ", " + ", ".join(rng.sample(STYLE_RECIPES[scene.style], rng.randint(1, 4))) if says_style else ""
    if rng.random() < 0.3:
        text += ", " + ", ".join(rng.sample(QUALITY, rng.randint(1, 4)))
    return _litter(text, rng) if rng.random() < litter_share else text


def meaningless(rng: random.Random) -> str:
    """Words that name nothing in a picture: what negative prompts are made of."""
    return ", ".join(rng.sample(BLAME, rng.randint(1, 8)))


def _template(scene: Scene, rng: random.Random) -> str:
    """A preset's recipe. One that speaks of the night needs a caption that says the hour itself."""
    templates = STYLE_TEMPLATES[scene.style]
    return rng.choice([text for text in templates if scene.time != DEFAULT_TIME or "night" not in text])


def _join(style: str, body: str, rng: random.Random) -> str:
    if not style:
        return body
    if rng.random() < 0.2:
        return f"{style}{rng.choice((', ', ' of ', ' '))}{body}"
    return f"{body}{rng.choice((', ', ', ', ', ', ' '))}{style}"


def _subject(scene: Scene, rng: random.Random) -> str:
    words = [rng.choice(SUBJECT_WORDS[scene.subject])]
    if scene.colour != NATURAL[scene.subject][0] or rng.random() < 0.5:
        words.insert(0, scene.colour if rng.random() < 0.8 else rng.choice(COLOUR_WORDS[scene.colour]))
    if rng.random() < 0.2:
        words.insert(0, rng.choice(ADJECTIVES))
    if rng.random() < 0.9:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    if rng.random() < 0.15:
        words.append(rng.choice(VERBS))
    return " ".join(words)


def _time(scene: Scene, rng: random.Random) -> list[str]:
    if scene.time == DEFAULT_TIME and rng.random() < 0.6:
        return []
    return [rng.choice(TIME_WORDS[scene.time])]


def _sentence(scene: Scene, rng: random.Random) -> str:
    opening = [rng.choice(OPENINGS)] if rng.random() < 0.15 else []
    if scene.subject == "nothing":
        return " ".join(opening + _landscape(scene, rng))
    says_place = scene.place != NATURAL[scene.subject][1] or rng.random() < 0.6
    place = (
        rng.choice(PLACE_WORDS[scene.place]) if rng.random() < 0.85 else "and " + rng.choice(PLACE_NAMES[scene.place])
    )
    rest = ([place] if says_place else []) + _time(scene, rng)
    if rng.random() < 0.3:
        rng.shuffle(rest)
    return rng.choice((" ", " ", " ", ", ")).join([" ".join([*opening, _subject(scene, rng)]), *rest])


def _landscape(scene: Scene, rng: random.Random) -> list[str]:
    names = PLACE_NAMES[scene.place]
    if rng.random() < 0.3:
        return [rng.choice(TIME_LANDSCAPES[scene.time]), rng.choice(names)]
    head = [rng.choice(names)]
    if rng.random() < 0.2:
        head = [rng.choice(("a landscape", "a beautiful landscape", "scenery")), rng.choice(PLACE_WORDS[scene.place])]
    return head + _time(scene, rng)


def _tags(scene: Scene, rng: random.Random) -> str:
    tags = [rng.choice(PLACE_NAMES[scene.place]).removeprefix("a ").removeprefix("the "), *_time(scene, rng)]
    rng.shuffle(tags)
    return ", ".join(tags if scene.subject == "nothing" else [_subject(scene, rng), *tags])


def _litter(text: str, rng: random.Random) -> str:
    """Drop in words the painter does not know, so that the reader learns to pass over them."""
    words = text.split(" ")
    for _ in range(rng.randint(1, 4)):
        noise = "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 8)))
        words.insert(rng.randrange(len(words) + 1), noise if rng.random() < 0.4 else rng.choice(OTHER_WORDS))
    return " ".join(words)
