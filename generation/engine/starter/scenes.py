"""What a scene means and how it is painted. The same scene and seed give the same picture, byte for byte.

Little is left to chance on purpose: one place for the subject and for the sun; clouds, stars and petals come in two
arrangements. A small model learns meaning sooner than variety, and where two layouts are as likely it paints both.
"""

import hashlib
import random
from dataclasses import astuple, dataclass
from functools import cache

import numpy as np
import skia

from generation.engine.starter.brush import Brush, glow_of, paint_of
from generation.engine.starter.palette import COLOURS, NEON_GLOW, STYLES, TIMES, WHITE, mix, multiply
from generation.engine.starter.scenery import PLACES, SIDE, paint_place, paint_sky
from generation.engine.starter.subjects import SUBJECTS, parts_of

FEET_ABOVE_EDGE = 16
CUT_ABOVE = 0.3  # of what a wide picture loses of its scenery, this share goes at the top
SUBJECT_SCALE = 1.25
PIXEL = 8  # one pixel of the pixel-art style is one latent cell, or two in large pictures: it survives the autoencoder
WATERS = ("sea", "lake")
HELD_OUT_PER_MILLE = 40

# A caption that names no colour or place means these.
NATURAL: dict[str, tuple[str, str]] = {
    "cat": ("orange", "meadow"),
    "dragon": ("green", "mountains"),
    "robot": ("white", "city"),
    "samurai": ("red", "cherry"),
    "bird": ("blue", "forest"),
    "fox": ("orange", "forest"),
    "boat": ("white", "sea"),
    "lighthouse": ("red", "sea"),
    "rocket": ("white", "desert"),
    "flower": ("pink", "meadow"),
    "castle": ("white", "mountains"),
    "house": ("red", "meadow"),
}
FACTORS: dict[str, tuple[str, ...]] = {
    "style": STYLES,
    "time": TIMES,
    "place": PLACES,
    "subject": ("nothing", *SUBJECTS),
    "colour": ("none", *COLOURS),
}


@dataclass(frozen=True)
class Scene:
    """The meaning of a picture. A landscape has subject `nothing` and colour `none`."""

    style: str
    time: str
    place: str
    subject: str
    colour: str

    @property
    def is_held_out(self) -> bool:
        """Whether training never sees this meaning, in whatever words: decided by a hash of the meaning alone."""
        digest = hashlib.sha256("|".join(astuple(self)).encode()).digest()
        return int.from_bytes(digest[:4], "big") % 1000 < HELD_OUT_PER_MILLE

    def labels(self) -> tuple[int, ...]:
        """Index of each value in `FACTORS`, in its order."""
        return tuple(names.index(value) for names, value in zip(FACTORS.values(), astuple(self), strict=True))


def draw_scene(rng: random.Random, landscape_share: float = 0.15) -> Scene:
    """Choose a meaning; boats stay on the water."""
    style, time, place = rng.choice(STYLES), rng.choice(TIMES), rng.choice(PLACES)
    if rng.random() < landscape_share:
        return Scene(style, time, place, "nothing", "none")
    subject = rng.choice(SUBJECTS)
    natural_colour, natural_place = NATURAL[subject]
    colour = natural_colour if rng.random() < 0.1 else rng.choice(tuple(COLOURS))
    if rng.random() < 0.1:
        place = natural_place
    if subject == "boat" and place not in WATERS:
        place = rng.choice(WATERS)
    return Scene(style, time, place, subject, colour)


def draw_split(rng: random.Random, is_held_out: bool) -> Scene:
    while True:
        scene = draw_scene(rng)
        if scene.is_held_out == is_held_out:
            return scene


def paint(scene: Scene, seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Paint the scene: (height, width, 3) uint8 RGB. `seed` decides clouds, stars, petals and paper.

    Args:
        size: (width, height). The scenery grows with the longer side and is cut, the subject with the shorter one.
    """
    rng = random.Random(seed)
    surface = skia.Surface(*size)
    canvas, scale = surface.getCanvas(), max(size) / SIDE
    brush = Brush(canvas, scene.style, scene.time)
    canvas.save()
    canvas.translate(0, -(max(size) - size[1]) * CUT_ABOVE)
    canvas.scale(scale, scale)
    paint_sky(brush, rng)
    paint_place(brush, scene.place, rng)
    canvas.restore()
    if scene.subject != "nothing":
        _paint_subject(brush, scene, size)
    picture = np.ascontiguousarray(surface.toarray(colorType=skia.kRGBA_8888_ColorType)[..., :3])
    return _FINISH.get(scene.style, lambda array, _: array)(picture, rng)


def _paint_subject(brush: Brush, scene: Scene, size: tuple[int, int]) -> None:
    colour = COLOURS[scene.colour]
    tones = {
        "main": (colour, glow_of(scene.colour)),
        "dark": (multiply(colour, (0.66, 0.66, 0.74)), glow_of(scene.colour)),
        "light": (mix(colour, WHITE, 0.45), mix(NEON_GLOW[scene.colour], WHITE, 0.4)),
    }
    canvas, scale = brush.canvas, min(size) / SIDE
    canvas.save()
    canvas.translate(size[0] / 2, size[1])
    canvas.scale(scale, scale)
    canvas.translate(0, -FEET_ABOVE_EDGE)
    canvas.scale(SUBJECT_SCALE, SUBJECT_SCALE)
    canvas.drawOval(skia.Rect.MakeLTRB(-60, -8, 60, 9), paint_of((0, 0, 0), alpha=70))
    for part in parts_of(scene.subject):
        fill, glow = tones[part.tone] if isinstance(part.tone, str) else (part.tone, part.tone)
        brush.subject(part.path, fill, glow, part.is_detail)
    canvas.restore()


@cache
def _blotches(index: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Soft paper grain (height, width, 1) around 1, and the ragged white rim of a watercolour as a 0 to 1 mask."""
    noise = np.random.default_rng(index).standard_normal((8, 8)).astype(np.float32)
    coarse = skia.Image.fromarray(np.repeat((np.clip(noise / 4 + 0.5, 0, 1) * 255).astype(np.uint8)[..., None], 4, -1))
    field = coarse.resize(*size, skia.SamplingOptions(skia.CubicResampler.Mitchell())).toarray()[..., :1]
    field = field.astype(np.float32) / 255 - 0.5
    across, down = (np.minimum(np.arange(side), np.arange(side)[::-1]).astype(np.float32) for side in size)
    distance = np.minimum(down[:, None], across[None])[..., None] * (SIDE / min(size)) + field * 10
    return 1 + field * 0.16, np.clip((distance - 9) / 6, 0, 1)


def _watercolour(picture: np.ndarray, rng: random.Random) -> np.ndarray:
    size = (picture.shape[1], picture.shape[0])
    grain, rim = _blotches(rng.randrange(2), size)
    sharp = skia.Image.fromarray(np.dstack([picture, np.full_like(picture[..., :1], 255)]))
    surface, radius = skia.Surface(*size), 2 * min(size) / SIDE
    soften = skia.Paint(ImageFilter=skia.ImageFilters.Blur(radius, radius))
    surface.getCanvas().drawImage(sharp, 0, 0, skia.SamplingOptions(), soften)
    wash = surface.toarray(colorType=skia.kRGBA_8888_ColorType)[..., :3].astype(np.float32)
    wash = (255 - (255 - wash) * 0.78) * grain
    return np.clip(wash * rim + (1 - rim) * 250, 0, 255).astype(np.uint8)


def _pixelate(picture: np.ndarray, rng: random.Random) -> np.ndarray:
    height, width, _ = picture.shape
    step = PIXEL if min(height, width) < 2 * SIDE else 2 * PIXEL
    rim = step // 4
    blocks = picture.reshape(height // step, step, width // step, step, 3)
    cells = blocks[:, rim:-rim, :, rim:-rim].mean((1, 3))
    stepped = np.clip(np.round(cells / 32) * 32, 0, 255).astype(np.uint8)
    return stepped.repeat(step, 0).repeat(step, 1)


_FINISH = {"watercolor": _watercolour, "pixel": _pixelate}
