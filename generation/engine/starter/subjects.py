"""The twelve subjects, each a list of parts around (0, 0) = between the feet, about 130 units high.

The largest area of every subject is `main`, the colour the caption names; silhouettes differ on purpose.
"""

from collections.abc import Callable
from functools import cache

from generation.engine.starter.palette import INK, RGB, WHITE
from generation.engine.starter.shapes import Part, blob, box, ellipse, polygon, ring

GOLD: RGB = (250, 204, 60)
STEEL: RGB = (196, 206, 220)
SKIN: RGB = (240, 200, 164)
WOOD: RGB = (122, 76, 44)
GLASS: RGB = (130, 214, 250)
LEAF: RGB = (60, 170, 80)
FLAME: RGB = (255, 150, 40)


def _eye(x: float, y: float, size: float) -> list[Part]:
    return [Part(ellipse(x, y, size), WHITE, True), Part(ellipse(x, y, size * 0.6), INK, True)]


def _cat() -> list[Part]:
    ears = [Part(polygon((s * 34, -84), (s * 32, -130), (s * 6, -106)), "main") for s in (-1, 1)]
    inner = [Part(polygon((s * 28, -96), (s * 28, -116), (s * 15, -104)), (240, 150, 164), True) for s in (-1, 1)]
    paws = [Part(ellipse(s * 14, -5, 13, 8), "light") for s in (-1, 1)]
    return [
        Part(blob((24, -4), (58, -6), (70, -40), (58, -66), (50, -60), (56, -40), (46, -22), (24, -22)), "dark"),
        Part(blob((-34, 0), (-36, -34), (-20, -66), (20, -66), (36, -34), (34, 0)), "main"),
        Part(ellipse(0, -24, 17, 20), "light", True),
        *paws,
        *ears,
        *inner,
        Part(ellipse(0, -84, 40, 32), "main"),
        *_eye(-15, -88, 9),
        *_eye(15, -88, 9),
        Part(polygon((-6, -75), (6, -75), (0, -68)), (240, 120, 140), True),
    ]


def _dragon() -> list[Part]:
    spikes = [Part(polygon((x - 7, y + 4), (x + 1, y - 15), (x + 9, y + 6)), GOLD) for x, y in ((-20, -84), (-14, -64))]
    return [
        Part(polygon((4, -52), (8, -112), (40, -136), (88, -128), (72, -106), (76, -88), (54, -82), (52, -62)), "dark"),
        Part(
            blob(
                *((-48, -104), (-26, -104), (-20, -78), (-4, -66), (26, -58), (40, -30), (64, -12), (84, -36)),
                *((92, -22), (70, 6), (30, 4), (-10, 0), (-36, -12), (-44, -44), (-42, -74)),
            ),
            "main",
        ),
        Part(polygon((78, -34), (100, -56), (98, -18)), "dark"),
        Part(blob((-38, -56), (-26, -62), (-16, -34), (0, -8), (-28, -14), (-38, -32)), "light", True),
        Part(box(-30, -18, -12, 4, 5), "dark"),
        Part(box(12, -18, 30, 4, 5), "dark"),
        *spikes,
        Part(polygon((-40, -112), (-22, -134), (-24, -104)), GOLD),
        Part(blob((-30, -114), (-52, -118), (-84, -102), (-86, -90), (-58, -84), (-32, -88)), "main"),
        *_eye(-52, -104, 7),
        Part(polygon((-86, -98), (-114, -108), (-104, -95), (-116, -84), (-86, -89)), FLAME, True),
    ]


def _robot() -> list[Part]:
    limbs = []
    for s in (-1, 1):
        limbs.append(Part(box(s * 20 - 11, -32, s * 20 + 11, 0, 4), "dark"))
        limbs.append(Part(box(s * 50 - 9, -76, s * 50 + 9, -30, 8), "dark"))
    lamps = [Part(ellipse(x, -46, 5), colour, True) for x, colour in ((-14, (255, 90, 80)), (0, GOLD), (14, LEAF))]
    return [
        *limbs,
        Part(box(-38, -80, 38, -26, 8), "main"),
        Part(box(-24, -70, 24, -36, 4), (44, 54, 76), True),
        *lamps,
        Part(box(-3, -140, 3, -120), STEEL),
        Part(ellipse(0, -140, 7), (255, 80, 80)),
        Part(box(-32, -124, 32, -82, 10), "main"),
        Part(box(-25, -114, 25, -92, 9), (24, 34, 54), True),
        Part(ellipse(-12, -103, 7), (110, 240, 255), True),
        Part(ellipse(12, -103, 7), (110, 240, 255), True),
    ]


def _samurai() -> list[Part]:
    shoulders = [Part(polygon((s * 20, -86), (s * 48, -82), (s * 56, -52), (s * 28, -50)), "dark") for s in (-1, 1)]
    horns = [Part(polygon((s * 3, -120), (s * 34, -148), (s * 10, -112)), GOLD) for s in (-1, 1)]
    return [
        Part(polygon((56, -34), (90, -128), (98, -132), (64, -32)), STEEL),
        Part(box(-24, -22, -4, 0, 3), (52, 46, 60)),
        Part(box(4, -22, 24, 0, 3), (52, 46, 60)),
        Part(polygon((-46, -10), (-26, -86), (26, -86), (46, -10)), "main"),
        *shoulders,
        Part(box(-33, -54, 33, -43), INK, True),
        Part(polygon((-12, -86), (12, -86), (0, -56)), "light", True),
        Part(box(42, -48, 74, -40, 3), GOLD, True),
        Part(ellipse(0, -98, 19, 20), SKIN),
        Part(ellipse(-7, -96, 3), INK, True),
        Part(ellipse(7, -96, 3), INK, True),
        Part(
            polygon((-36, -94), (-30, -116), (-14, -128), (14, -128), (30, -116), (36, -94), (16, -106), (-16, -106)),
            "dark",
        ),
        *horns,
    ]


def _bird() -> list[Part]:
    legs = [Part(box(x, -14, x + 6, 4), FLAME) for x in (-10, 12)]
    return [
        *legs,
        Part(polygon((34, -50), (98, -66), (84, -44), (96, -24), (34, -30)), "dark"),
        Part(blob((-50, -70), (-36, -38), (-6, -8), (34, -16), (54, -46), (30, -72), (-4, -76)), "main"),
        Part(ellipse(-14, -34, 20, 18), "light", True),
        Part(ellipse(-30, -92, 32, 30), "main"),
        Part(polygon((-58, -104), (-94, -92), (-58, -82)), FLAME),
        Part(blob((-6, -62), (30, -74), (62, -40), (56, -22), (20, -28)), "dark"),
        *_eye(-38, -98, 9),
    ]


def _fox() -> list[Part]:
    legs = [Part(polygon((x, -44), (x + 16, -44), (x + 13, 0), (x + 3, 0)), "dark") for x in (-38, -20, 22, 40)]
    return [
        Part(blob((48, -62), (62, -104), (88, -130), (104, -104), (94, -70), (62, -40)), "main"),
        Part(blob((76, -120), (92, -134), (104, -108), (96, -98), (84, -108)), WHITE, True),
        *legs,
        Part(blob((-46, -66), (0, -72), (46, -70), (60, -50), (44, -32), (0, -30), (-40, -34)), "main"),
        Part(blob((-44, -56), (-30, -60), (-20, -36), (-34, -30)), WHITE, True),
        Part(polygon((-66, -98), (-64, -136), (-42, -106)), "main"),
        Part(polygon((-44, -104), (-32, -136), (-22, -96)), "main"),
        Part(polygon((-24, -104), (-70, -102), (-110, -70), (-104, -62), (-62, -58), (-26, -66)), "main"),
        Part(polygon((-108, -68), (-104, -62), (-62, -58), (-40, -62), (-70, -74)), WHITE, True),
        Part(ellipse(-108, -68, 6, 5), INK, True),
        *_eye(-58, -88, 7),
    ]


def _boat() -> list[Part]:
    return [
        Part(box(-5, -142, 3, -24), WOOD),
        Part(polygon((6, -140), (6, -34), (80, -34)), "main"),
        Part(polygon((-8, -124), (-8, -34), (-66, -34)), "main"),
        Part(polygon((6, -70), (6, -52), (66, -52), (55, -70)), "light", True),
        Part(polygon((-86, -26), (86, -26), (62, 6), (-62, 6)), WOOD),
        Part(polygon((-84, -24), (84, -24), (80, -16), (-80, -16)), WHITE, True),
    ]


def _lighthouse() -> list[Part]:
    bands = [(0.0, 0.2), (0.4, 0.6), (0.8, 1.0)]
    stripes = []
    for top, bottom in bands:
        (y0, w0), (y1, w1) = ((-106 + 100 * share, 17 + 13 * share) for share in (top, bottom))
        stripes.append(Part(polygon((-w0, y0), (w0, y0), (w1, y1), (-w1, y1)), "main", True))
    return [
        Part(polygon((12, -116), (124, -140), (124, -94)), (255, 246, 170), True),
        Part(blob((-76, 4), (-52, -20), (0, -26), (52, -20), (76, 4)), (112, 106, 108)),
        Part(polygon((-30, -6), (-17, -106), (17, -106), (30, -6)), WHITE),
        *stripes,
        Part(box(-24, -110, 24, -103), INK, True),
        Part(box(-14, -128, 14, -109), (255, 236, 120)),
        Part(polygon((-22, -127), (0, -150), (22, -127)), "main"),
    ]


def _rocket() -> list[Part]:
    fins = [Part(polygon((s * 26, -64), (s * 62, -8), (s * 56, 4), (s * 22, -22)), "dark") for s in (-1, 1)]
    return [
        Part(polygon((-18, -22), (-10, 8), (0, 22), (10, 8), (18, -22)), FLAME, True),
        Part(polygon((-9, -22), (0, 8), (9, -22)), (255, 240, 140), True),
        *fins,
        Part(blob((0, -150), (30, -104), (34, -60), (22, -18), (-22, -18), (-34, -60), (-30, -104)), "main"),
        Part(ellipse(0, -92, 17), STEEL),
        Part(ellipse(0, -92, 11), GLASS, True),
        Part(box(-4, -50, 4, -10, 3), "dark", True),
    ]


def _flower() -> list[Part]:
    leaves = [Part(blob((0, -8), (s * 22, -40), (s * 60, -44), (s * 40, -12)), LEAF) for s in (-1, 1)]
    petals = [Part(ellipse(x, y, 23), "main") for x, y in ring(6, 33, 0, -96)]
    return [
        Part(box(-5, -70, 5, 2), LEAF),
        *leaves,
        *petals,
        Part(ellipse(0, -96, 19), GOLD),
        Part(ellipse(0, -96, 9), FLAME, True),
    ]


def _castle() -> list[Part]:
    parts = []
    for x, height in ((-76, 96), (40, 96), (-18, 124)):
        parts.append(Part(box(x, -height, x + 36, 0), "main"))
        parts.append(Part(polygon((x - 8, -height), (x + 18, -height - 36), (x + 44, -height)), "dark"))
        parts.append(Part(box(x + 12, -height + 18, x + 24, -height + 38, 6), INK, True))
    wall = [Part(box(-44, -62, 44, 0), "main"), Part(box(-17, -38, 17, 0, 14), WOOD, True)]
    teeth = [Part(box(x, -72, x + 12, -58), "main", True) for x in (-40, -20, 8, 28)]
    return [*parts, *teeth, *wall]


def _house() -> list[Part]:
    windows = [Part(box(s * 38 - 13, -54, s * 38 + 13, -28), (255, 232, 140)) for s in (-1, 1)]
    return [
        Part(box(30, -126, 50, -84), (150, 80, 64)),
        Part(box(-66, -76, 66, 2), "main"),
        Part(polygon((-86, -72), (0, -132), (86, -72)), WOOD),
        *windows,
        Part(box(-15, -46, 15, 2, 3), (84, 50, 34)),
        Part(ellipse(9, -22, 3), GOLD, True),
    ]


_DRAW: dict[str, Callable[[], list[Part]]] = {
    "cat": _cat,
    "dragon": _dragon,
    "robot": _robot,
    "samurai": _samurai,
    "bird": _bird,
    "fox": _fox,
    "boat": _boat,
    "lighthouse": _lighthouse,
    "rocket": _rocket,
    "flower": _flower,
    "castle": _castle,
    "house": _house,
}
SUBJECTS = tuple(_DRAW)


@cache
def parts_of(subject: str) -> tuple[Part, ...]:
    return tuple(_DRAW[subject]())
