"""Price lists: copied, checked, looked at, published, and from then on never changed."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credits import ledger, price_lists, prices
from credits.errors import InvalidPrices, PriceMissing
from credits.models import Hold, PriceRule, PriceVersion
from credits.price_checks import CHOICES
from credits.pricing import Creation, Pictures, quote
from generation.params import QUALITIES
from tests.factories import make_job, make_user, team_of
from tests.pictures import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]
BY = {"actor": "staff:ana@example.com"}


@pytest.fixture
def first() -> PriceVersion:
    return PriceVersion.objects.get()


@pytest.fixture
def draft(first) -> PriceVersion:
    return price_lists.copy_as_draft(first, "next", **BY)


def rule(version: PriceVersion, name: str, option: str = "", up_to: int | None = None):
    return PriceRule.objects.filter(version=version, name=name, option=option, up_to=up_to)


def everything() -> list[dict]:
    return [*PriceVersion.objects.order_by("pk").values(), *PriceRule.objects.order_by("pk").values()]


def states() -> dict[int, str]:
    return dict(price_lists.with_state(PriceVersion.objects.all()).values_list("pk", "state"))


def price_now(side_px: int = 512) -> int:
    return quote(prices.current(), Pictures(side_px, side_px, "standard", 1)).unit_centi


def test_the_first_list_is_whole(first):
    assert price_lists.problems_of(first) == []
    assert states() == {first.pk: "in force"}


def test_every_quality_that_can_be_asked_for_has_a_price():
    assert CHOICES["image.quality"] == QUALITIES


def test_a_copy_has_every_rule_and_counts_for_nothing(first, draft):
    facts = ("name", "option", "up_to", "value")
    assert list(draft.rules.values_list(*facts)) == list(first.rules.values_list(*facts))
    assert (draft.effective_at, states()) == (None, {first.pk: "in force", draft.pk: "draft"})
    rule(draft, "image.base").update(value=50)
    assert price_now() == 600


@pytest.mark.parametrize("name", ["2026-11", "", "  ", "x" * 41])
def test_a_copy_has_a_name_of_its_own(first, name):
    before = everything()
    with pytest.raises(InvalidPrices):
        price_lists.copy_as_draft(first, name, **BY)
    assert everything() == before


def test_a_published_list_counts_at_once(first, draft):
    rule(draft, "image.base").update(value=10)
    published = price_lists.publish(draft, **BY)
    assert (price_now(), published.published_by) == (1200, BY["actor"])
    assert states() == {first.pk: "past", draft.pk: "in force"}


def test_a_list_for_later_counts_later_and_can_be_withdrawn(first, draft):
    rule(draft, "image.base").update(value=10)
    price_lists.publish(draft, effective_at=timezone.now() + timedelta(days=1), **BY)
    assert price_now() == 600 and states()[draft.pk] == "planned"
    price_lists.withdraw(draft, **BY)
    assert states()[draft.pk] == "draft"
    with pytest.raises(InvalidPrices):
        price_lists.withdraw(draft, **BY)
    price_lists.publish(draft, **BY)
    with pytest.raises(InvalidPrices, match="whose moment has not come"):
        price_lists.withdraw(draft, **BY)
    assert price_now() == 1200


def test_a_list_is_published_once_and_never_for_the_past(first, draft):
    with pytest.raises(InvalidPrices, match="in the past"):
        price_lists.publish(draft, effective_at=timezone.now() - timedelta(minutes=1), **BY)
    moment = timezone.now() + timedelta(days=1)
    price_lists.publish(draft, effective_at=moment, **BY)
    with pytest.raises(InvalidPrices, match="published or deleted meanwhile"):
        price_lists.publish(draft, **BY)
    other = price_lists.copy_as_draft(first, "other", **BY)
    with pytest.raises(InvalidPrices, match="Another price list begins"):
        price_lists.publish(other, effective_at=moment, **BY)
    assert states() == {first.pk: "in force", draft.pk: "planned", other.pk: "draft"}


# --- Holes, overlaps and other nonsense -----------------------------------------------------------------------------
def missing(name, *place):
    return lambda draft: rule(draft, name, *place).delete()


def worth(value, name, *place):
    return lambda draft: rule(draft, name, *place).update(value=value)


def added(name, option="", up_to=None):
    return lambda draft: PriceRule.objects.create(version=draft, name=name, option=option, up_to=up_to, value=1)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (missing("image.resolution"), "image.resolution has a hole: nothing above 1024. Add one without a bound."),
        (added("image.resolution", "wide", 512), "image.resolution overlaps: 2 prices up to 512."),
        (added("image.resolution", "wide"), "image.resolution overlaps: 2 prices without a bound."),
        (added("image.resolution", "", 0), "image.resolution has a bound of 0, which nothing is in."),
        (missing("image.quality", "hd"), "image.quality hd is missing."),
        (added("image.quality", "4k"), "image.quality has no option called '4k'."),
        (missing("refinement.cap"), "refinement.cap is missing."),
        (
            added("image.base", "", 512),
            "image.base is one number, without option or bound: image.base up to 512: 1.0000.",
        ),
        (added("image.bsae"), "Nothing is called image.bsae."),
        (worth(0, "image.base"), "image.base: 0.0000 must be more than 0."),
        (worth(0, "image.quality", "hd"), "image.quality hd: 0.0000 must be more than 0."),
        (worth("0.0001", "image.base"), "By the price list this would cost nothing. Please tell the operator."),
        (worth(90_000_000, "image.base"), "image would cost up to 972,000,000 credits, more than a wallet can hold."),
    ],
)
def test_a_list_with_a_fault_is_not_published_and_the_fault_is_named(draft, spoil, sentence):
    spoil(draft)
    before = everything()
    assert sentence in price_lists.problems_of(draft)
    with pytest.raises(InvalidPrices) as refused:
        price_lists.publish(draft, **BY)
    assert sentence in str(refused.value)
    assert everything() == before and price_now() == 600


def test_an_empty_list_is_a_list_of_what_is_missing(first):
    empty = PriceVersion.objects.create(name="empty")
    assert len(price_lists.problems_of(empty)) == 16
    with pytest.raises(InvalidPrices):
        price_lists.publish(empty, **BY)
    with pytest.raises(PriceMissing):
        price_lists.preview(empty)


@pytest.mark.parametrize("name", ["creation.images_included", "creation.image_extra", "bonus.welcome"])
def test_some_things_may_be_nothing(draft, name):
    rule(draft, name).update(value=0)
    assert price_lists.problems_of(draft) == []


# --- The database ---------------------------------------------------------------------------------------------------
def test_the_database_lets_nobody_change_prices_that_count(first, draft):
    own, other = rule(first, "image.base").get(), rule(draft, "image.base").get()
    changes = (
        lambda: PriceRule.objects.filter(pk=own.pk).update(value=1),
        lambda: PriceRule.objects.filter(pk=own.pk).update(version=draft),
        lambda: PriceRule.objects.filter(pk=other.pk).update(version=first, option="hd"),
        lambda: PriceRule.objects.filter(pk=own.pk).delete(),
        lambda: PriceRule.objects.create(version=first, name="x", value=1),
        lambda: PriceVersion.objects.filter(pk=first.pk).update(effective_at=None),
        lambda: PriceVersion.objects.filter(pk=first.pk).delete(),
    )
    before = everything()
    for change in changes:
        with pytest.raises(DatabaseError, match="prices in force never change"), transaction.atomic():
            change()
    assert everything() == before


def test_a_draft_can_be_deleted(first, draft):
    draft.delete()
    assert list(PriceVersion.objects.all()) == [first] and PriceRule.objects.filter(version=first).exists()


# --- What would the last jobs have cost? ----------------------------------------------------------------------------
@pytest.mark.usefixtures("catalogue")
def test_a_preview_prices_the_last_jobs_anew(draft):
    user = make_user(credits=1000)
    small, fine = make_job(user, count=2), make_job(user, quality="hd")
    deliver(small)
    rule(draft, "image.quality", "hd").update(value=Decimal("2"))
    seen = price_lists.preview(draft)
    assert [(line.job_id, line.old_centi, line.new_centi) for line in seen.lines] == [
        (str(fine.pk), 900, 1200),
        (str(small.pk), 1200, 1200),
    ]
    assert (seen.old_centi, seen.new_centi, seen.difference_centi) == (2100, 2400, 300)
    assert [(line.what, line.difference_centi) for line in seen.biggest] == [("1 x 256x256 hd", 300)]
    assert [line.job_id for line in price_lists.preview(draft, last=1).lines] == [str(fine.pk)]


@pytest.mark.parametrize(
    ("complexity", "changed", "old", "new"),
    [
        (None, "complexity.default", 7_500, 11_250),
        (Decimal(3), "complexity.cap", 15_000, 11_250),
        (Decimal(3), "complexity.cap", 15_000, 18_750),
        (Decimal(1), "complexity.default", 7_500, 7_500),
    ],
)
def test_a_preview_knows_what_was_asked_for_before_default_and_cap(draft, complexity, changed, old, new):
    asked = quote(prices.current(), Creation(5, complexity))
    with transaction.atomic():
        ledger.reserve(team_id=team_of(make_user(credits=1000)).pk, quote=asked, reference="job-1")
    rule(draft, changed).update(value=Decimal("2.5") if new == 18_750 else Decimal("1.5"))
    (line,) = price_lists.preview(draft).lines
    assert (line.old_centi, line.new_centi) == (old, new)


@pytest.mark.usefixtures("catalogue")
def test_a_preview_names_what_a_list_has_no_price_for(draft):
    user = make_user(credits=1000)
    fine, hd, old = make_job(user), make_job(user, quality="hd"), make_job(user)
    Hold.objects.filter(reference=str(old.pk)).update(quote={"unit_centi": 600, "count": 1})
    rule(draft, "image.quality", "hd").delete()
    seen = price_lists.preview(draft)
    assert [line.job_id for line in seen.lines] == [str(fine.pk)]
    assert [(line.job_id, line.reason) for line in seen.unpriced] == [
        (str(old.pk), "Its quote does not say what was asked for."),
        (str(hd.pk), "The price list has no image.quality hd. Please tell the operator."),
    ]


@pytest.mark.usefixtures("catalogue")
def test_a_preview_costs_as_many_statements_for_many_jobs_as_for_one(draft):
    user = make_user(credits=1000)

    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            price_lists.preview(draft)
        return len(queries)

    make_job(user)
    one = statements()
    for _ in range(8):
        make_job(user)
    assert statements() == one == 3
