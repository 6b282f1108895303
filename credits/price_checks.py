"""What makes a price list unfit to be published: holes, overlaps, prices of nothing. Reads only."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from credits import prices
from credits.amounts import AMOUNT_CENTI_MAX, show
from credits.errors import PriceMissing
from credits.models import PriceRule, PriceVersion
from credits.pricing import Ask, Creation, Pictures, Prices, Refinement, quote

NUMBERS = (
    "image.base", "image.factor", "creation.base", "creation.factor", "creation.images_included",
    "creation.image_extra", "refinement.base", "refinement.growth", "refinement.factor", "refinement.cap",
    "complexity.default", "complexity.cap", "bonus.welcome",
)  # fmt: skip
CHOICES = {"image.quality": ("standard", "hd")}
BANDS = ("image.resolution",)
MAY_BE_NOTHING = ("creation.images_included", "creation.image_extra", "bonus.welcome")
SIDE_PX_MAX = 100_000  # beyond every model
JOB_IMAGES_MAX = 100  # beyond every job


def problems_of(version: PriceVersion) -> list[str]:
    """Why a version must not be published, a sentence each; an empty list when nothing is wrong with it."""
    rules = list(version.rules.all())
    problems = [
        f"Nothing is called {name}." for name in sorted({rule.name for rule in rules} - {*NUMBERS, *CHOICES, *BANDS})
    ]
    for name in NUMBERS:
        problems += _problems_of_number(name, [rule for rule in rules if rule.name == name])
    for name, options in CHOICES.items():
        problems += _problems_of_choices(name, options, [rule for rule in rules if rule.name == name])
    for name in BANDS:
        problems += _problems_of_bands(name, [rule for rule in rules if rule.name == name])
    problems += [f"{rule} must be more than 0." for rule in rules if not rule.value and rule.name not in MAY_BE_NOTHING]
    return problems or _problems_of_quotes(prices.of_version(version))


def _problems_of_number(name: str, rules: list[PriceRule]) -> list[str]:
    if not rules:
        return [f"{name} is missing."]
    return [f"{name} is one number, without option or bound: {rule}." for rule in rules if rule.option or rule.up_to]


def _problems_of_choices(name: str, options: Iterable[str], rules: list[PriceRule]) -> list[str]:
    there = {rule.option for rule in rules}
    problems = [f"{name} {option} is missing." for option in options if option not in there]
    problems += [f"{name} has no option called {option!r}." for option in sorted(there - set(options))]
    return problems + [f"{name} has options, not bounds: {rule}." for rule in rules if rule.up_to is not None]


def _problems_of_bands(name: str, rules: list[PriceRule]) -> list[str]:
    problems = [f"{name} has bounds, not options: {rule}." for rule in rules if rule.option]
    problems += [f"{name} has a bound of 0, which nothing is in." for rule in rules if rule.up_to == 0]
    if not any(rule.up_to is None for rule in rules):
        tops = [rule.up_to for rule in rules if rule.up_to is not None]
        above = f"above {max(tops)}" if tops else "at all"
        problems.append(f"{name} has a hole: nothing {above}. Add one without a bound.")
    bounds = Counter("without a bound" if rule.up_to is None else f"up to {rule.up_to}" for rule in rules)
    problems += [f"{name} overlaps: {number} prices {bound}." for bound, number in bounds.items() if number > 1]
    return problems


def _problems_of_quotes(list_: Prices) -> list[str]:
    """What only shows when something is priced: that it costs nothing, or more than a wallet can hold."""
    problems: set[str] = set()
    dearest: dict[str, int] = {}
    for ask in _samples(list_):
        try:
            dearest[ask.kind] = max(dearest.get(ask.kind, 0), quote(list_, ask).unit_centi)
        except PriceMissing as error:
            problems.add(str(error))
    for kind, price in dearest.items():
        if price * JOB_IMAGES_MAX > AMOUNT_CENTI_MAX:
            problems.add(f"{kind} would cost up to {show(price)} credits, more than a wallet can hold.")
    return sorted(problems)


def _samples(list_: Prices) -> list[Ask]:
    lowest, highest = list_.get("complexity.default"), list_.get("complexity.cap")
    sides = [up_to or SIDE_PX_MAX for up_to, _ in list_.bands.get("image.resolution", ((None, Decimal(1)),))]
    asks: list[Ask] = []
    for complexity in (min(lowest, highest), highest):
        asks += [Pictures(side, side, option, 1, complexity) for side in sides for option in CHOICES["image.quality"]]
        asks += [Creation(1, complexity), Creation(JOB_IMAGES_MAX, complexity)]
        asks += [Refinement(iteration, complexity) for iteration in (1, 100)]
    return asks
