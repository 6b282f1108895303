"""What things cost. Pure: no database, no clock, one rounding."""

from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from credits.amounts import CENTI

VERSION = "2026-11"
IMAGE_BASE = Decimal(5)
IMAGE_FACTOR = Decimal("1.2")
RESOLUTION: tuple[tuple[int, Decimal], ...] = (  # longest side in pixels up to, multiplier
    (512, Decimal("1.0")),
    (768, Decimal("1.5")),
    (1024, Decimal("2.0")),
)
RESOLUTION_ABOVE = Decimal("3.0")
QUALITY = {"standard": Decimal("1.0"), "hd": Decimal("1.5")}


@dataclass(frozen=True, slots=True)
class Quote:
    """A price, locked: what one image costs, how many, and what it was worked out from."""

    unit_centi: int
    count: int
    width: int
    height: int
    quality: str
    version: str = VERSION

    def __post_init__(self) -> None:
        assert self.unit_centi > 0 and self.count > 0

    @property
    def total_centi(self) -> int:
        return self.unit_centi * self.count

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def quote_images(*, width: int, height: int, quality: str, count: int, complexity: Decimal = Decimal(1)) -> Quote:
    """Price `count` images: `5 x resolution x quality x complexity x 1.2`, rounded half up per image."""
    unit = IMAGE_BASE * _resolution(max(width, height)) * QUALITY[quality] * complexity * IMAGE_FACTOR
    return Quote(unit_centi=_centi(unit), count=count, width=width, height=height, quality=quality)


def _resolution(side_px: int) -> Decimal:
    return next((factor for limit, factor in RESOLUTION if side_px <= limit), RESOLUTION_ABOVE)


def _centi(credits: Decimal) -> int:
    return int((credits * CENTI).quantize(Decimal(1), ROUND_HALF_UP))
