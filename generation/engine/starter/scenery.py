"""Skies by time of day and the nine places, painted behind the subject.

The middle of the picture belongs to the subject, so a place is told by its horizon, its ground and its two sides.
"""

import random
from collections.abc import Callable

import skia

from generation.engine.starter.brush import Brush, paint_of
from generation.engine.starter.palette import NEON_SKY, PAPER, RGB, SKY, WHITE, mix
from generation.engine.starter.shapes import blob, box, ellipse, polygon, union

SIDE = 256
HORIZON = 150
CYAN: RGB = (0, 226, 255)
MAGENTA: RGB = (255, 50, 180)


def _glaring(colour: RGB) -> RGB:
    red, green, blue = (255 if value > 127 else value * 0.7 for value in colour)
    return red, green, blue


def paint_sky(brush: Brush, rng: random.Random) -> None:
    bands: tuple[RGB, ...] = NEON_SKY[brush.time] if brush.style == "neon" else SKY[brush.time]
    if brush.style == "sketch":
        bands = (PAPER[brush.time],) * 3
    if brush.style == "anime":
        bands = tuple(mix(band, _glaring(band), 0.35) for band in bands)
    colours = [paint_of(band).getColor() for band in bands]
    ends = [skia.Point(0, 0), skia.Point(0, HORIZON)]
    gradient = skia.GradientShader.MakeLinear(ends, colours, [0, 0.6, 1])
    brush.canvas.drawRect(skia.Rect.MakeWH(SIDE, SIDE), skia.Paint(Shader=gradient))
    {"day": _day, "sunset": _sunset, "night": _night, "storm": _storm}[brush.time](brush, rng)


def _cloud(brush: Brush, x: float, y: float, colour: RGB) -> None:
    puffs = [ellipse(x, y, 26, 13), ellipse(x - 20, y + 5, 20, 9), ellipse(x + 21, y + 5, 22, 9)]
    brush.lamp(union(puffs), mix(colour, (60, 40, 120), 0.5) if brush.style == "neon" else colour, is_detail=False)


def _halo(brush: Brush, x: float, y: float, radius: float, colour: RGB) -> None:
    if brush.style != "sketch":
        brush.canvas.drawCircle(x, y, radius * 1.5, paint_of(colour, alpha=90, blur=8))
    brush.lamp(ellipse(x, y, radius), colour, is_detail=False)


def _day(brush: Brush, rng: random.Random) -> None:
    _halo(brush, 44, 40, 22, (255, 240, 110))
    if rng.random() < 0.5:
        _cloud(brush, 196, 42, (255, 255, 255))


def _sunset(brush: Brush, rng: random.Random) -> None:
    _halo(brush, 44, HORIZON - 26, 34, (255, 226, 110))
    if rng.random() < 0.5:
        _cloud(brush, 196, 42, (255, 160, 150))


def _night(brush: Brush, rng: random.Random) -> None:
    stars = random.Random(5 + rng.randrange(2))
    for _ in range(40):
        x, y, size = stars.uniform(0, SIDE), stars.uniform(0, 120), stars.uniform(1.2, 2.6)
        brush.canvas.drawCircle(x, y, size, paint_of((255, 255, 230)))
    _halo(brush, 44, 42, 24, (252, 248, 216))


def _storm(brush: Brush, rng: random.Random) -> None:
    shift = 8 * rng.randrange(2)
    for x, y in ((40, 26), (120, 18), (208, 30)):
        _cloud(brush, x + shift, y, (58, 62, 72))
    bolt = polygon((212, 40), (190, 84), (204, 82), (188, 126), (224, 72), (209, 74), (224, 40))
    brush.lamp(bolt, (255, 246, 130), is_detail=False)
    if brush.style == "pixel":
        return  # a drop is thinner than a pixel
    rain = paint_of((214, 224, 236), alpha=150, width=2)
    for index in range(24):
        x, y = (index * 53) % 270, (index * 37) % 140
        brush.canvas.drawLine(x, y, x - 7, y + 20, rain)


def _ground(brush: Brush, colour: RGB, glow: RGB, top: float = HORIZON) -> None:
    path = skia.Path()
    path.moveTo(-8, top + 2)
    path.cubicTo(80, top - 8, 160, top + 8, SIDE + 8, top - 2)
    path.lineTo(SIDE + 8, SIDE + 8)
    path.lineTo(-8, SIDE + 8)
    path.close()
    brush.scenery(path, colour, mix((40, 20, 70), glow, 0.4))


def _mountains(brush: Brush, rng: random.Random) -> None:
    peaks = (((-40, 60), (52, 46), (150, 160)), ((96, 170), (206, 34), (310, 170)))
    for left, top, right in peaks:
        brush.scenery(polygon((left[0], 160), top, (right[0], 160)), (112, 118, 150), (150, 90, 255))
        x, y = top
        cap = ((x, y), (x - 27, y + 34), (x - 10, y + 27), (x + 2, y + 40), (x + 12, y + 26), (x + 28, y + 32))
        brush.scenery(polygon(*cap), (250, 252, 255), CYAN, is_detail=True)
    _ground(brush, (96, 128, 92), (90, 60, 160), 156)


def _waves(brush: Brush, top: float, colour: RGB) -> None:
    for index in range(14):
        y, x = top + 8 + index * 8, (index * 71) % 250
        length = 16 + index * 3
        brush.canvas.drawLine(x - length, y, x + length, y, paint_of(colour, alpha=200, width=3))


def _wave_colour(brush: Brush) -> RGB:
    if brush.style == "neon":
        return CYAN
    return mix(SKY[brush.time][1], WHITE, 0.5)


def _sea(brush: Brush, rng: random.Random) -> None:
    brush.scenery(box(-8, 138, SIDE + 8, SIDE + 8), (20, 96, 190), (0, 70, 190))
    _waves(brush, 138, _wave_colour(brush))


def _lake(brush: Brush, rng: random.Random) -> None:
    for x, width in ((30, 110), (220, 120)):
        brush.scenery(ellipse(x, 150, width, 46), (90, 170, 110), (0, 200, 120))
    _ground(brush, (120, 190, 90), (0, 150, 90))
    brush.scenery(ellipse(128, 204, 124, 42), (84, 196, 236), CYAN)
    for x in (10, 20, 236, 247):
        brush.scenery(box(x - 2, 130, x + 2, 186), (60, 120, 60), (0, 255, 140), is_detail=True)
        brush.scenery(ellipse(x, 134, 4, 13), (120, 76, 44), MAGENTA, is_detail=True)


def _pine(brush: Brush, x: float, foot: float, height: float, colour: RGB, glow: RGB) -> None:
    brush.scenery(box(x - 5, foot - 16, x + 5, foot), (100, 66, 42), glow, is_detail=True)
    half, top = height * 0.26, foot - height
    tiers = [(x, top), (x + half * 0.6, top + height * 0.4), (x + half * 0.35, top + height * 0.4)]
    tiers += [(x + half, foot - 12)]
    brush.scenery(polygon(*tiers, *[(2 * x - a, b) for a, b in reversed(tiers[1:])]), colour, glow)


def _forest(brush: Brush, rng: random.Random) -> None:
    _ground(brush, (58, 110, 52), (0, 110, 60))
    for index in range(7):
        _pine(brush, 12 + index * 39, 164, 96, (34, 98, 60), (0, 150, 90))
    for x in (8, 60, 200, 250):
        _pine(brush, x, 204, 160, (20, 76, 44), (0, 255, 120))


def _cherry(brush: Brush, rng: random.Random) -> None:
    _ground(brush, (150, 200, 110), (120, 40, 120))
    for x, size in ((22, 1.0), (234, 1.0), (96, 0.62), (166, 0.62)):
        foot = 196 if size == 1.0 else 166
        trunk = box(x - 7 * size, foot - 70 * size, x + 7 * size, foot)
        brush.scenery(trunk, (96, 60, 50), (160, 60, 120), is_detail=True)
        top = foot - 96 * size
        crown = [ellipse(x, top - 14 * size, 38 * size), ellipse(x - 30 * size, top + 8 * size, 32 * size)]
        brush.scenery(union([*crown, ellipse(x + 30 * size, top + 8 * size, 32 * size)]), (255, 158, 200), MAGENTA)
    petals = random.Random(3 + rng.randrange(2))
    for _ in range(26):
        left, height = petals.uniform(0, SIDE), petals.uniform(90, SIDE)
        brush.scenery(ellipse(left, height, 5, 3.4), (255, 190, 216), MAGENTA, is_detail=True)


def _city(brush: Brush, rng: random.Random) -> None:
    _ground(brush, (96, 98, 110), (60, 40, 120))
    is_lit = brush.time != "day" or brush.style == "neon"
    heights = (118, 84, 138, 70, 96, 60, 84, 132, 76, 114)
    for index, height in enumerate(heights):
        left = -6 + index * 27
        brush.scenery(box(left, 158 - height, left + 24, 160), (120, 128, 150), (CYAN, MAGENTA)[index % 2])
        for row in range(int(height) // 16):
            y = 158 - height + 8 + row * 16
            for x in (left + 4, left + 14):
                if (row + index + int(x)) % 3:
                    brush.lamp(box(x, y, x + 6, y + 8), (255, 224, 110) if is_lit else (200, 226, 246))
    stripe = polygon((124, 160), (132, 160), (160, SIDE), (96, SIDE))
    brush.scenery(stripe, (226, 216, 150), (255, 220, 60), is_detail=True)


def _desert(brush: Brush, rng: random.Random) -> None:
    for x, top, width in ((40, 96, 130), (214, 84, 150)):
        brush.scenery(
            blob((x - width, 170), (x - 30, top + 14), (x, top), (x + 40, top + 20), (x + width, 170)),
            (244, 200, 112),
            (255, 170, 40),
        )
    _ground(brush, (238, 188, 92), (190, 110, 20))
    for x, foot in ((24, 208), (232, 216)):
        arms = [box(x - 8, foot - 84, x + 8, foot, 8), box(x - 26, foot - 62, x - 15, foot - 36, 5)]
        arms += [box(x - 26, foot - 46, x, foot - 36, 5), box(x + 15, foot - 74, x + 26, foot - 46, 5)]
        brush.scenery(union([*arms, box(x, foot - 56, x + 26, foot - 46, 5)]), (50, 140, 80), (40, 255, 120))


def _meadow(brush: Brush, rng: random.Random) -> None:
    brush.scenery(ellipse(196, 176, 150, 50), (150, 216, 90), (60, 220, 60))
    _ground(brush, (126, 204, 66), (40, 160, 40), 154)
    flowers = random.Random(7 + rng.randrange(2))
    for index in range(22):
        x, y = flowers.uniform(0, SIDE), 166 + (index * 41) % 88
        colour = ((250, 250, 255), (255, 214, 60), (240, 70, 100))[index % 3]
        brush.scenery(ellipse(x, y, 6), colour, colour, is_detail=True)


def _snow(brush: Brush, rng: random.Random) -> None:
    brush.scenery(ellipse(60, 172, 130, 56), (226, 236, 250), (120, 190, 255))
    _ground(brush, (246, 250, 255), (150, 190, 255))
    for x, foot, height in ((20, 190, 120), (70, 168, 76), (188, 168, 76), (238, 190, 120)):
        _pine(brush, x, foot, height, (96, 150, 150), (160, 220, 255))
        top = foot - height
        brush.scenery(polygon((x, top), (x + 14, top + 32), (x - 14, top + 32)), (255, 255, 255), WHITE, is_detail=True)
    flakes = random.Random(9 + rng.randrange(2))
    for _ in range(46):
        brush.canvas.drawCircle(
            flakes.uniform(0, SIDE), flakes.uniform(0, SIDE), 3, paint_of((255, 255, 255), alpha=235)
        )


_PAINT: dict[str, Callable[[Brush, random.Random], None]] = {
    "mountains": _mountains,
    "sea": _sea,
    "lake": _lake,
    "forest": _forest,
    "cherry": _cherry,
    "city": _city,
    "desert": _desert,
    "meadow": _meadow,
    "snow": _snow,
}
PLACES = tuple(_PAINT)


def paint_place(brush: Brush, place: str, rng: random.Random) -> None:
    _PAINT[place](brush, rng)
