"""Small skia paths the painter is built from, in the units of a 256 pixel picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import skia

from generation.engine.starter.palette import RGB

Point = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """One filled shape. `tone` is a colour, or the role of the subject's own colour: main, dark or light."""

    path: skia.Path
    tone: str | RGB
    is_detail: bool = False  # details get no outline and no glow


def polygon(*points: Point) -> skia.Path:
    path = skia.Path()
    path.moveTo(*points[0])
    for point in points[1:]:
        path.lineTo(*point)
    path.close()
    return path


def ellipse(x: float, y: float, rx: float, ry: float | None = None) -> skia.Path:
    path = skia.Path()
    ry = rx if ry is None else ry
    path.addOval(skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry))
    return path


def box(left: float, top: float, right: float, bottom: float, radius: float = 0) -> skia.Path:
    path = skia.Path()
    path.addRoundRect(skia.Rect.MakeLTRB(left, top, right, bottom), radius, radius)
    return path


def blob(*points: Point) -> skia.Path:
    """A smooth closed curve through the points (Catmull-Rom, turned into cubic segments)."""
    path, count = skia.Path(), len(points)
    path.moveTo(*points[0])
    for index in range(count):
        before, start, end, after = (points[(index + shift) % count] for shift in (-1, 0, 1, 2))
        first = (start[0] + (end[0] - before[0]) / 6, start[1] + (end[1] - before[1]) / 6)
        second = (end[0] - (after[0] - start[0]) / 6, end[1] - (after[1] - start[1]) / 6)
        path.cubicTo(*first, *second, *end)
    path.close()
    return path


def union(paths: Sequence[skia.Path]) -> skia.Path:
    whole = paths[0]
    for path in paths[1:]:
        whole = skia.Op(whole, path, skia.PathOp.kUnion_PathOp)
    return whole


def ring(count: int, radius: float, x: float, y: float) -> list[Point]:
    """`count` points on a circle, the first straight above the centre."""
    angles = [2 * math.pi * index / count - math.pi / 2 for index in range(count)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]
