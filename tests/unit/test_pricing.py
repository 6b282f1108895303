from decimal import Decimal

import pytest

from credits import amounts, pricing, seed
from credits.errors import PriceMissing
from credits.pricing import Creation, Pictures, Prices, Quote, Refinement

FIRST_ROWS = [(name, option, up_to, Decimal(value)) for name, option, up_to, value in seed.RULES]
FIRST = Prices.of("first", FIRST_ROWS)


@pytest.mark.parametrize(
    ("side", "quality", "complexity", "count", "total"),
    [
        (1024, "hd", "1.5", 1, 2700),  # the example of the product page: 5 x 2.0 x 1.5 x 1.5 x 1.2
        (256, "standard", "1", 1, 600),
        (512, "standard", "1", 4, 2400),
        (513, "standard", "1", 1, 900),
        (1025, "standard", "1", 1, 1800),
        (256, "standard", "9", 1, 1200),  # no more complex than the cap
    ],
)
def test_images_cost_what_the_formula_says(side, quality, complexity, count, total):
    made = pricing.quote(FIRST, Pictures(side, 64, quality, count, Decimal(complexity)))
    assert made.total_centi == total


@pytest.mark.parametrize(
    ("images", "complexity", "total"), [(10, "1.5", 11_500), (3, None, 7_500), (5, "1", 7_500), (6, "1", 7_550)]
)
def test_a_model_costs_what_the_formula_says(images, complexity, total):
    asked = Creation(images, Decimal(complexity) if complexity else None)
    assert pricing.quote(FIRST, asked).total_centi == total


@pytest.mark.parametrize(
    ("iteration", "complexity", "total"),
    [(1, "1.5", 5940), (2, "1.5", 7128), (3, "1.5", 8554), (4, "1.5", 10_264), (30, "1", 50_000), (10**9, "1", 50_000)],
)
def test_a_refinement_costs_what_the_formula_says_up_to_its_cap(iteration, complexity, total):
    assert pricing.quote(FIRST, Refinement(iteration, Decimal(complexity))).total_centi == total


def test_the_unit_price_is_rounded_half_up_once():
    made = pricing.quote(FIRST, Pictures(256, 256, "standard", 3, Decimal("1.00083334")))
    assert (made.unit_centi, made.total_centi) == (601, 1803)


def test_a_quote_says_what_it_was_made_of_and_can_be_asked_again():
    for asked in (
        Pictures(1024, 512, "hd", 2, Decimal("1.5")),
        Creation(10, Decimal("1.5")),
        Refinement(2, Decimal(1)),
    ):
        made = pricing.quote(FIRST, asked)
        assert made.version == "first"
        assert pricing.ask_of(made.as_dict()) == asked
        assert Quote.from_dict(made.as_dict()) == made
    assert pricing.ask_of({"unit_centi": 600, "count": 1}) is None


def test_a_pass_may_pay_standard_pictures_only():
    assert pricing.quote(FIRST, Pictures(512, 256, "standard", 1)).pass_side_px == 512
    assert pricing.quote(FIRST, Pictures(512, 256, "hd", 1)).pass_side_px is None
    assert pricing.quote(FIRST, Creation(3)).pass_side_px is None


def test_a_hole_in_the_prices_is_an_error_and_never_a_price():
    with pytest.raises(PriceMissing, match=r"image\.quality ultra"):
        pricing.quote(FIRST, Pictures(256, 256, "ultra", 1))
    bounded = Prices.of("hole", [rule for rule in FIRST_ROWS if rule[:3] != ("image.resolution", "", None)])
    with pytest.raises(PriceMissing, match=r"image\.resolution"):
        pricing.quote(bounded, Pictures(2048, 256, "standard", 1))


@pytest.mark.parametrize(
    ("centi", "text"), [(600, "6"), (650, "6.50"), (5, "0.05"), (-250, "-2.50"), (123_456_700, "1,234,567")]
)
def test_credits_as_text(centi, text):
    assert amounts.show(centi) == text


@pytest.mark.parametrize(("text", "centi"), [("12", 1200), ("12.5", 1250), ("0.01", 1), ("-3", -300)])
def test_credits_from_text(text, centi):
    assert amounts.parse(text) == centi


@pytest.mark.parametrize(
    "text", ["", "ten", "1.005", "NaN", "Infinity", "1e30", "1,5", "1e1000000", "-1e999999999", "1e-999999999999999"]
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match=r"credits?|range"):
        amounts.parse(text)
