"""The two files that are kept of a picture, made from its pixels and nothing else. Pure."""

import hashlib
from typing import NamedTuple

from PIL import Image as Pillow

from generation import encode
from generation.uploads import likeness
from generation.uploads.decoding import Pixels


class Files(NamedTuple):
    """A training picture as it is stored."""

    width: int
    height: int
    png: bytes  # no text, no profile, no EXIF: there are none in pixels
    thumbnail: bytes  # WebP
    sha256: str  # of `png`
    likeness: int

    @property
    def size_bytes(self) -> int:
        return len(self.png) + len(self.thumbnail)


def make(pixels: Pixels) -> Files:
    """Encode a picture. The same pixels always give the same bytes."""
    import numpy as np  # a process that reads no picture need not load it

    rows = np.frombuffer(pixels.rgb, np.uint8).reshape(pixels.height, pixels.width, 3)
    png = encode.encode_original(rows)
    return Files(
        width=pixels.width,
        height=pixels.height,
        png=png,
        thumbnail=encode.encode_thumbnail(rows),
        sha256=hashlib.sha256(png).hexdigest(),
        likeness=likeness.of(Pillow.fromarray(rows)),
    )
