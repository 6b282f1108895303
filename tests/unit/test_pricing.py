from decimal import Decimal

import pytest

from credits import amounts, pricing


@pytest.mark.parametrize(
    ("side", "quality", "complexity", "count", "total"),
    [
        (1024, "hd", "1.5", 1, 2700),  # the example of the product page: 5 x 2.0 x 1.5 x 1.5 x 1.2
        (256, "standard", "1", 1, 600),
        (512, "standard", "1", 4, 2400),
        (513, "standard", "1", 1, 900),
        (1025, "standard", "1", 1, 1800),
    ],
)
def test_images_cost_what_the_formula_says(side, quality, complexity, count, total):
    quote = pricing.quote_images(width=side, height=64, quality=quality, count=count, complexity=Decimal(complexity))
    assert quote.total_centi == total


def test_the_unit_price_is_rounded_half_up_once():
    quote = pricing.quote_images(width=256, height=256, quality="standard", count=3, complexity=Decimal("1.00083334"))
    assert (quote.unit_centi, quote.total_centi) == (601, 1803)


@pytest.mark.parametrize(
    ("centi", "text"), [(600, "6"), (650, "6.50"), (5, "0.05"), (-250, "-2.50"), (123_456_700, "1,234,567")]
)
def test_credits_as_text(centi, text):
    assert amounts.show(centi) == text


@pytest.mark.parametrize(("text", "centi"), [("12", 1200), ("12.5", 1250), ("0.01", 1), ("-3", -300)])
def test_credits_from_text(text, centi):
    assert amounts.parse(text) == centi


@pytest.mark.parametrize("text", ["", "ten", "1.005", "NaN", "Infinity", "1e30", "1,5"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match=r"credits?|range"):
        amounts.parse(text)
