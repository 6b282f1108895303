"""From a provider's file to pixels, by the limited child that reads uploads, too. Nothing but them goes on."""

from typing import TYPE_CHECKING

from generation.errors import PictureRefused
from generation.training_limits import UPLOAD_BYTES_MAX
from generation.uploads.decoding import Decoder

if TYPE_CHECKING:
    import numpy as np

CONTENT_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
BYTES_MAX = UPLOAD_BYTES_MAX


class BadPicture(Exception):
    """What came is not a picture of the size that was ordered; `str(error)` says what, for staff."""


def decode(content: bytes, *, width: int, height: int) -> "np.ndarray":
    """Read a file of one frame that is just as large as it was ordered, as (height, width, 3) uint8 RGB.

    Raises:
        BadPicture: another format, size or number of frames, or broken.
        UploadsBusy: all children are at work; later is early enough.
    """
    import numpy as np

    with Decoder() as decoder:
        try:
            pixels = decoder.read_exact(content, width, height)
        except PictureRefused as refused:
            raise BadPicture(f"{refused} Ordered: {width}x{height}, came: {len(content):,} bytes.") from refused
    return np.frombuffer(pixels.rgb, np.uint8).reshape(height, width, 3).copy()
