"""From a stranger's file to pixels, in memory that is counted. Runs in the limited child and nowhere else."""

import io
import warnings
from collections.abc import Callable

from PIL import Image as Pillow
from PIL import ImageCms, UnidentifiedImageError

from generation.training_limits import PIXELS_MAX, SIDE_PX_KEPT, SIDE_PX_MAX, SIDE_PX_MIN
from generation.uploads.wire import Word

FORMATS = ("PNG", "JPEG", "WEBP")
HEAVY_PIXELS_MAX = 4096 * 4096  # libwebp keeps four copies of what it unpacks; a CMYK JPEG is half as bad
PROFILE_BYTES_MAX = 4_000_000
STRIP_ROWS = 256
ORIENTATION = 0x0112  # of EXIF
T = Pillow.Transpose
TURNS: dict[object, Pillow.Transpose] = {
    2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_270, 7: T.TRANSVERSE,
    8: T.ROTATE_90,
}  # fmt: skip
SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # modes of Pillow, and what a profile for them calls itself
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class BadPicture(Exception):
    """Not a file we take."""

    def __init__(self, word: Word) -> None:
        self.word = word
        super().__init__(word.name)


def read(content: bytes) -> Pillow.Image:
    """A picture as people see it: upright, in sRGB, on white, its longest side at most `SIDE_PX_KEPT`.

    Raises:
        BadPicture: another format, too small, too large, more than one frame, or broken.
    """
    return _opened(content, _clean)


def read_exact(content: bytes, width: int, height: int) -> Pillow.Image:
    """The pixels of a file as they are, which must be of just this size.

    Raises:
        BadPicture: as `read`, or of another size.
    """

    def take(picture: Pillow.Image) -> Pillow.Image:
        # The size stands in the header: nothing is unpacked before it is known to be what was ordered.
        if picture.size != (width, height):
            raise BadPicture(Word.OTHER_SIZE)
        return picture.convert("RGB")

    return _opened(content, take)


def _opened(content: bytes, take: Callable[[Pillow.Image], Pillow.Image]) -> Pillow.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            # With a list of formats Pillow asks no other parser, some of which start programs.
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as picture:
                _check(picture)
                return take(picture)
    except BadPicture:
        raise
    except UnidentifiedImageError:
        raise BadPicture(Word.NO_PICTURE) from None
    except (Pillow.DecompressionBombWarning, Pillow.DecompressionBombError):
        raise BadPicture(Word.TOO_LARGE) from None
    except MemoryError:
        raise BadPicture(Word.TOO_HEAVY) from None
    except Exception:  # Pillow's parsers raise whatever their format brings with it
        raise BadPicture(Word.DAMAGED) from None


def _check(picture: Pillow.Image) -> None:
    pixels_max = HEAVY_PIXELS_MAX if picture.format == "WEBP" or picture.mode == "CMYK" else PIXELS_MAX
    if max(picture.size) > SIDE_PX_MAX or picture.width * picture.height > pixels_max:
        raise BadPicture(Word.TOO_LARGE)
    if getattr(picture, "n_frames", 1) != 1:
        raise BadPicture(Word.MOVING)


def _clean(picture: Pillow.Image) -> Pillow.Image:
    if min(picture.size) < SIDE_PX_MIN:
        raise BadPicture(Word.TOO_SMALL)
    # A JPEG can be unpacked at half, quarter or eighth of its size, in that much less memory and time.
    picture.draft(picture.mode, (SIDE_PX_KEPT, SIDE_PX_KEPT))
    picture.load()
    smaller = _to_srgb(_flat(picture), picture.info.get("icc_profile"))
    smaller.thumbnail((SIDE_PX_KEPT, SIDE_PX_KEPT), Pillow.Resampling.LANCZOS)
    turn = TURNS.get(_orientation(picture))
    return smaller if turn is None else smaller.transpose(turn)


def _orientation(picture: Pillow.Image) -> object:
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # as above; whoever writes broken EXIF gets the picture as it lies
        return 1


def _flat(picture: Pillow.Image) -> Pillow.Image:
    """Without transparency, as L, RGB or CMYK of 8 bits, at half the size where that is still plenty.

    Strip by strip: whole copies of 40 million pixels would not fit into the memory that this process has.
    """
    factor = 2 if max(picture.size) >= 4 * SIDE_PX_KEPT else 1
    whole: Pillow.Image | None = None
    for top in range(0, picture.height, STRIP_ROWS):
        strip = _plain(picture.crop((0, top, picture.width, min(picture.height, top + STRIP_ROWS))))
        strip = strip.reduce(factor) if factor > 1 else strip
        if whole is None:
            whole = Pillow.new(strip.mode, (strip.width, -(-picture.height // factor)))
        whole.paste(strip, (0, top // factor))
    assert whole is not None
    return whole


def _plain(strip: Pillow.Image) -> Pillow.Image:
    if strip.mode.startswith("I"):  # 16 bits
        return strip.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if strip.mode in ("RGBA", "LA", "PA") or "transparency" in strip.info:
        white = Pillow.new("RGBA", strip.size, "white")
        white.alpha_composite(strip.convert("RGBA"))
        return white.convert("RGB")
    if strip.mode in SPACES:
        return strip
    return strip.convert("L" if strip.mode == "1" else "RGB")


def _to_srgb(picture: Pillow.Image, profile: bytes | None) -> Pillow.Image:
    if profile and len(profile) <= PROFILE_BYTES_MAX:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == SPACES[picture.mode]:
                converted = ImageCms.profileToProfile(picture, source, SRGB, outputMode="RGB")
                assert converted is not None
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            # A broken profile says nothing about the pixels: they are taken as if it were not there.
            return picture.convert("RGB")
    return picture.convert("RGB")
