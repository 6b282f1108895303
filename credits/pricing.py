"""What things cost. Pure: no database, no clock, one rounding.

image       base x resolution x quality x complexity x factor, for each image
creation    base x complexity x factor + max(0, images - images_included) x image_extra
refinement  base x growth^iteration x complexity x factor, at most `cap`; the first refinement is iteration 1
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from decimal import ROUND_HALF_UP, Decimal
from math import prod
from typing import Any, ClassVar, Self

from credits.amounts import CENTI
from credits.errors import PriceMissing

ITERATION_MAX = 100  # far beyond where any cap has taken over


@dataclass(frozen=True, slots=True)
class Prices:
    """A price list: numbers by name and option, and bands by name."""

    version: str
    values: dict[tuple[str, str], Decimal]
    bands: dict[str, tuple[tuple[int | None, Decimal], ...]]  # (up to, value), rising; None is everything above

    @classmethod
    def of(cls, version: str, rules: Iterable[tuple[str, str, int | None, Decimal]]) -> Self:
        """A price list from rows of name, option, upper bound and value. A name with any bound is a band."""
        rows = list(rules)
        banded = {name for name, _, up_to, _ in rows if up_to is not None}
        bands: dict[str, list[tuple[int | None, Decimal]]] = {name: [] for name in banded}
        for name, _, up_to, value in rows:
            if name in banded:
                bands[name].append((up_to, value))
        for band in bands.values():
            band.sort(key=lambda step: (step[0] is None, step[0] or 0))
        values = {(name, option): value for name, option, _, value in rows if name not in banded}
        return cls(version, values, {name: tuple(band) for name, band in bands.items()})

    def get(self, name: str, option: str = "") -> Decimal:
        """One number.

        Raises:
            PriceMissing: the list does not say.
        """
        if (value := self.values.get((name, option))) is None:
            raise PriceMissing(f"The price list has no {name} {option}".rstrip() + ". Please tell the operator.")
        return value

    def band(self, name: str, size: int) -> Decimal:
        """The number of the band that `size` is in.

        Raises:
            PriceMissing: no band reaches so far.
        """
        for up_to, value in self.bands.get(name, ()):
            if up_to is None or size <= up_to:
                return value
        return self.get(name)


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is asked for: `count` pictures. `complexity` is their model's."""

    width: int
    height: int
    quality: str
    count: int
    complexity: Decimal | None = None
    kind: ClassVar[str] = "image"


@dataclass(frozen=True, slots=True)
class Creation:
    """What is asked for: a model of one's own, from `images` pictures."""

    images: int
    complexity: Decimal | None = None
    kind: ClassVar[str] = "creation"
    count: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Refinement:
    """What is asked for: the next version of a model. The first refinement is iteration 1."""

    iteration: int
    complexity: Decimal | None = None
    kind: ClassVar[str] = "refinement"
    count: ClassVar[int] = 1


Ask = Pictures | Creation | Refinement
ASKS: dict[str, type[Ask]] = {ask.kind: ask for ask in (Pictures, Creation, Refinement)}


@dataclass(frozen=True, slots=True)
class Quote:
    """A price, locked: what one unit costs, how many, and what it was worked out from."""

    unit_centi: int
    count: int
    kind: str = "image"
    version: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # the ask, and the factors that made the price

    def __post_init__(self) -> None:
        assert self.unit_centi > 0 and self.count > 0

    @property
    def total_centi(self) -> int:
        return self.unit_centi * self.count

    @property
    def pass_side_px(self) -> int | None:
        """The longest side, where a pass may pay: it pays pictures of standard quality and nothing else."""
        if self.kind != "image" or self.facts.get("quality") != "standard":
            return None
        return int(max(self.facts["width"], self.facts["height"]))

    def as_dict(self) -> dict[str, Any]:
        # Not `asdict`: it copies every value, and a reserve waits for it.
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """The quote that `as_dict` stored."""
        return cls(**stored)


def quote(prices: Prices, ask: Ask) -> Quote:
    """Price what is asked for; rounded half up once, to a hundredth of a credit, for one unit.

    Raises:
        PriceMissing: the price list has a hole where this falls, or its price rounds to nothing.
    """
    wanted = prices.get("complexity.default") if ask.complexity is None else ask.complexity
    complexity = min(wanted, prices.get("complexity.cap"))
    facts = {name: value for name, value in asdict(ask).items() if name != "complexity"}
    factors = {"complexity": complexity}
    match ask:
        case Pictures():
            factors["resolution_factor"] = prices.band("image.resolution", max(ask.width, ask.height))
            factors["quality_factor"] = prices.get("image.quality", ask.quality)
            price = prices.get("image.base") * prices.get("image.factor") * prod(factors.values())
        case Creation():
            extra = max(Decimal(0), ask.images - prices.get("creation.images_included"))
            price = prices.get("creation.base") * complexity * prices.get("creation.factor")
            price += extra * prices.get("creation.image_extra")
        case Refinement():
            assert ask.iteration >= 1
            growth = prices.get("refinement.growth") ** min(ask.iteration, ITERATION_MAX)
            price = prices.get("refinement.base") * growth * complexity * prices.get("refinement.factor")
            price = min(price, prices.get("refinement.cap"))
    said: dict[str, str | None] = {name: str(factor) for name, factor in factors.items()}
    if complexity != ask.complexity:  # another list may have another default or cap
        said["complexity_asked"] = None if ask.complexity is None else str(ask.complexity)
    if not (unit_centi := _centi(price)):
        raise PriceMissing("By the price list this would cost nothing. Please tell the operator.")
    return Quote(unit_centi, ask.count, ask.kind, prices.version, {**facts, **said})


def ask_of(stored: dict[str, Any]) -> Ask | None:
    """What a stored quote was for, so that it can be priced again; None when it does not say."""
    kind = ASKS.get(stored.get("kind", ""))
    facts = stored.get("facts", {})
    names = {each.name for each in fields(kind)} if kind else set()
    if kind is None or not names <= facts.keys():
        return None
    asked = facts.get("complexity_asked", facts["complexity"])
    complexity = None if asked is None else Decimal(asked)
    return kind(**{name: facts[name] for name in names - {"complexity"}}, complexity=complexity)


def _centi(credits: Decimal) -> int:
    return int((credits * CENTI).quantize(Decimal(1), ROUND_HALF_UP))
