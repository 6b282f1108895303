"""From a provider's file to pixels. Nothing of the file but its pixels goes on. Pure."""

import io
import warnings
from typing import TYPE_CHECKING

from PIL import Image as Pillow

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("PNG", "JPEG", "WEBP")
CONTENT_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
BYTES_MAX = 20 * 2**20


class BadPicture(Exception):
    """What came is not a picture of the size that was ordered; `str(error)` says what, for staff."""


def decode(content: bytes, *, width: int, height: int) -> "np.ndarray":
    """Read a file of one frame that is just as large as it was ordered, as (height, width, 3) uint8 RGB.

    Raises:
        BadPicture: another format, size or number of frames, or broken.
    """
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            # With a list of formats Pillow asks no other parser, some of which start programs.
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as picture:
                # The size stands in the header: nothing is unpacked before it is known to be what was ordered.
                if picture.size != (width, height):
                    raise BadPicture(f"{picture.width}x{picture.height} instead of {width}x{height}")
                if getattr(picture, "n_frames", 1) != 1:
                    raise BadPicture("more than one frame")
                return np.array(picture.convert("RGB"), dtype=np.uint8)
    except BadPicture:
        raise
    except Exception as error:  # Pillow's parsers raise whatever their format brings with it
        raise BadPicture(f"{type(error).__name__}: {error}"[:200]) from error
