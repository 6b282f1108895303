"""The look at a finished picture before anyone sees it. What it refuses is neither shown nor charged.

Three questions, cheapest first: is it a picture at all, is it one that the operator has blocked, and, where a model's
catalogue entry names a classifier, what does that say.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BLOCKED_HASHES = Path(__file__).parent / "blocked_hashes.txt"
# Hamming distance of two 64-bit difference hashes that still counts as the same picture: survives rescaling, another
# encoding and slight changes of colour; unrelated pictures differ in about 32 bits.
HAMMING_DISTANCE_MAX = 6
# Standard deviation over all values, in levels of 255. An empty sky has more, a failed decode has none.
CONTRAST_MIN = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is for the person, `code` for the API and the counters; both empty when the picture is fine."""

    ok: bool
    reason: str = ""
    code: str = ""


FINE = Verdict(ok=True)
BROKEN = Verdict(False, "The model made no picture this time.", "picture_broken")
BLOCKED = Verdict(False, "The picture matches one that may not be shown here.", "picture_blocked")
Classifier = Callable[["np.ndarray"], Verdict]


def check(pixels: np.ndarray, *, blocked: Iterable[int] | None = None, classify: Classifier | None = None) -> Verdict:
    """Judge one picture.

    Args:
        pixels: (height, width, 3) uint8; a float array is judged too (NaN is broken), in the same 0 to 255.
        blocked: 64-bit difference hashes; default those of `blocked_hashes.txt`.
        classify: asked last, see `classifier`.
    """
    if is_broken(pixels):
        return BROKEN
    mine = difference_hash(pixels)
    for other in load_blocked() if blocked is None else blocked:
        if (mine ^ other).bit_count() <= HAMMING_DISTANCE_MAX:
            return BLOCKED
    return FINE if classify is None else classify(pixels)


def is_broken(pixels: np.ndarray) -> bool:
    """Nothing to see: wrong shape, NaN or infinity, or one flat colour."""
    import numpy as np

    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        return True
    if not np.isfinite(pixels).all():
        return True
    # Per channel, so that a flat orange is as flat as a flat grey.
    return bool(pixels.reshape(-1, 3).std(axis=0, dtype=np.float64).max() < CONTRAST_MIN)


def difference_hash(pixels: np.ndarray) -> int:
    """64 bits: is each cell of an 8 x 8 grid darker than its right neighbour? (N. Krawetz, "dHash", 2013.)

    Args:
        pixels: (height, width, 3), 0 to 255.

    Returns:
        The bits row by row, the first one highest, as `blocked_hashes.txt` writes them in 16 hex digits.
    """
    import numpy as np
    from PIL import Image

    grey = Image.fromarray(pixels.astype(np.uint8)).convert("L").resize((9, 8), Image.Resampling.BOX)
    cells = np.asarray(grey)
    bits = (cells[:, :-1] < cells[:, 1:]).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def load_blocked(path: Path = BLOCKED_HASHES) -> frozenset[int]:
    """Hashes of a block list; read again when the file changes.

    Raises:
        ValueError: a line is neither a comment nor 16 hex digits. A list that is half read would let pictures through.
    """
    status = path.stat()
    return _load_blocked(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _load_blocked(path: Path, modified_ns: int, size: int) -> frozenset[int]:
    hashes = set()
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        if len(text) != 16 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
            raise ValueError(f"{path.name}, line {number}: {text!r} is not 16 hex digits")
        hashes.add(int(text, 16))
    return frozenset(hashes)


@lru_cache(maxsize=8)
def classifier(name: str) -> Classifier | None:
    """The classifier that a catalogue entry names as "package.module:function"; None where it names none.

    Raises:
        ImportError, AttributeError: it cannot be found. Better no picture than an unjudged one.
    """
    if not name:
        return None
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
