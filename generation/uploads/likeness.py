"""Which pictures look alike: 64 bits that stay nearly the same when a picture is scaled, packed or brightened. Pure."""

from collections.abc import Iterable
from itertools import pairwise

from PIL import Image as Pillow

ALIKE_BITS_MAX = 6  # of 64 that may differ; two unrelated pictures differ in about 32
COLUMNS, ROWS = 8, 8
SIGN = 1 << 63


def of(picture: Pillow.Image) -> int:
    """One bit for every neighbour that is brighter (difference hash), as PostgreSQL's signed bigint."""
    grey = picture.convert("L").resize((COLUMNS + 1, ROWS), Pillow.Resampling.BOX).tobytes()
    bits = 0
    for row in range(ROWS):
        line = grey[row * (COLUMNS + 1) : (row + 1) * (COLUMNS + 1)]
        for left, right in pairwise(line):
            bits = bits << 1 | (right > left)
    return bits - (1 << 64) if bits & SIGN else bits


def distance(one: int, other: int) -> int:
    """In how many of the 64 bits two pictures differ."""
    return ((one ^ other) & ((1 << 64) - 1)).bit_count()


def nearest(likeness: int, others: Iterable[int]) -> int | None:
    """Which of the others, by its place, looks most alike; None where none does."""
    far = [(distance(likeness, other), place) for place, other in enumerate(others)]
    bits, place = min(far, default=(ALIKE_BITS_MAX + 1, 0))
    return place if bits <= ALIKE_BITS_MAX else None
