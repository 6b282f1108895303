"""From pixels to files. Pure."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image as Pillow

if TYPE_CHECKING:
    import numpy as np

PREVIEW_SIDE_PX_MAX = 1024
THUMBNAIL_SIDE_PX_MAX = 384
ROUGH_SIDE_PX = 256
PNG_RLE = 3  # zlib's run-length strategy: at level 1 three times faster than Pillow's default, and no larger


@dataclass(frozen=True, slots=True)
class Encoded:
    """One picture as it is stored."""

    original: bytes  # PNG, lossless, without any text inside: prompts are private
    preview: bytes  # WebP
    thumbnail: bytes  # WebP


def encode(pixels: "np.ndarray") -> Encoded:
    """Encode (height, width, 3) uint8 RGB three ways."""
    return Encoded(encode_original(pixels), encode_preview(pixels), encode_thumbnail(pixels))


def encode_original(pixels: "np.ndarray") -> bytes:
    png = io.BytesIO()
    Pillow.fromarray(pixels).save(png, "PNG", compress_level=1, compress_type=PNG_RLE)
    return png.getvalue()


def encode_preview(pixels: "np.ndarray") -> bytes:
    return _webp(Pillow.fromarray(pixels), PREVIEW_SIDE_PX_MAX, 90)


def encode_thumbnail(pixels: "np.ndarray") -> bytes:
    return _webp(Pillow.fromarray(pixels), THUMBNAIL_SIDE_PX_MAX, 82)


def encode_rough(pixels: "np.ndarray") -> bytes:
    """Encode a rough picture of any size as a small WebP of the same shape, its longest side `ROUGH_SIDE_PX`."""
    picture = Pillow.fromarray(pixels)
    scale = ROUGH_SIDE_PX / max(picture.size)
    larger = picture.resize((round(picture.width * scale), round(picture.height * scale)), Pillow.Resampling.BICUBIC)
    return _webp(larger, ROUGH_SIDE_PX, 60)


def _webp(picture: Pillow.Image, side_px_max: int, quality: int) -> bytes:
    smaller = picture.copy()
    smaller.thumbnail((side_px_max, side_px_max), Pillow.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "WEBP", quality=quality, method=0)
    return buffer.getvalue()
