"""Which credits a paid history stands for, from objects as Stripe sends them (recorded, cut to what is read)."""

from datetime import UTC, datetime

import pytest

from credits.billing import dues, shapes
from credits.billing.errors import UnknownPrice
from credits.models import Plan, PlanPrice

BASIC, PRO = (Plan(slug=slug, name=slug, monthly_centi=centi) for slug, centi in (("basic", 50_000), ("pro", 200_000)))
PRICES = {
    "price_basic": PlanPrice(plan=BASIC, interval="month"),
    "price_pro": PlanPrice(plan=PRO, interval="month"),
    "price_basic_year": PlanPrice(plan=BASIC, interval="year"),
    "price_pro_year": PlanPrice(plan=PRO, interval="year"),
    "price_trial": PlanPrice(plan=BASIC, interval="month", trial_centi=1_000),
}


def at(*day: int) -> int:
    return int(datetime(*day, tzinfo=UTC).timestamp())


JAN, FEB, MAR, APR = at(2027, 1, 31), at(2027, 2, 28), at(2027, 3, 31), at(2027, 4, 30)
NEXT_JAN = at(2028, 1, 31)


def line(name: str, price: str, start: int, end: int, amount: int = 99_900, *, proration: bool = False, **more):
    details = {
        "invoice_item": None, "proration": proration, "proration_details": {"credited_items": None},
        "subscription": "sub_1", "subscription_item": "si_1",
    }  # fmt: skip
    parent = {
        "type": "subscription_item_details", "invoice_item_details": None, "subscription_item_details": details,
    }  # fmt: skip
    return {
        "id": name, "object": "line_item", "amount": amount, "currency": "inr", "parent": parent,
        "period": {"start": start, "end": end},
        "pricing": {"type": "price_details", "price_details": {"price": price, "product": "prod_1"}},
    } | more  # fmt: skip


def invoice(created: int, *lines: dict, total: int = 99_900, paid: bool = True):
    payment = {"type": "payment_intent", "payment_intent": f"pi_{created}"}
    payments = [{"object": "invoice_payment", "status": "open", "payment": payment | {"payment_intent": "pi_failed"}}]
    payments += [{"object": "invoice_payment", "status": "paid", "payment": payment}] if paid else []
    return shapes.invoice(
        {
            "id": f"in_{created}", "object": "invoice", "created": created, "customer": "cus_1", "status": "paid",
            "billing_reason": "subscription_cycle", "total": total, "currency": "inr", "number": "A-1",
            "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
            "lines": {"object": "list", "data": list(lines), "has_more": False},
            "payments": {"object": "list", "data": payments},
        }
    )  # fmt: skip


def sub(**more) -> shapes.Sub:
    item = {"id": "si_1", "price": {"id": "price_basic"}, "current_period_start": JAN, "current_period_end": FEB}
    return shapes.subscription(
        {
            "id": "sub_1", "customer": "cus_1", "status": "active", "items": {"data": [item]}, "created": JAN,
            "billing_cycle_anchor": JAN, "trial_end": None, "cancel_at": None, "ended_at": None,
        }
        | more
    )  # fmt: skip


def told(*invoices: shapes.Invoice, now: int = JAN, **of_sub) -> list[tuple[str, int]]:
    moment = datetime.fromtimestamp(now, UTC)
    return [(due.reference, due.amount_centi) for due in dues.of(sub(**of_sub), invoices, PRICES, moment).grants]


def month(start: str, amount: int) -> tuple[str, int]:
    return f"sub:sub_1:{start}T000000Z", amount


def test_the_period_is_that_of_the_plan_line_whatever_stands_before_it():
    metered = line("il_0", "price_metered", at(2026, 12, 31), JAN)
    (due,) = dues.of(
        sub(), [invoice(JAN, metered, line("il_1", "price_basic", JAN, FEB))], PRICES, datetime.now(UTC)
    ).grants
    assert (int(due.starts_at.timestamp()), int(due.ends_at.timestamp())) == (JAN, FEB)
    assert (due.reference, due.amount_centi, due.payment_ref) == (*month("20270131", 50_000), f"pi_{JAN}")


def test_the_order_of_the_list_does_not_matter():
    history = [
        invoice(start, line("il", "price_basic", start, end)) for start, end in ((JAN, FEB), (FEB, MAR), (MAR, APR))
    ]
    assert told(*history) == told(*reversed(history))
    assert told(*history) == [month(day, 50_000) for day in ("20270131", "20270228", "20270331")]


def test_a_coupon_over_everything_is_no_trial():
    assert told(invoice(JAN, line("il_1", "price_basic", JAN, FEB), total=0, paid=False)) == [month("20270131", 50_000)]


def test_a_trial_is_told_by_its_end():
    first = invoice(JAN, line("il_1", "price_trial", JAN, FEB, 0), total=0, paid=False)
    paid = invoice(FEB, line("il_2", "price_trial", FEB, MAR))
    assert told(first, paid, trial_end=FEB) == [("trial:sub_1", 1_000), month("20270228", 50_000)]


def test_a_trial_without_credits_grants_nothing():
    assert told(invoice(JAN, line("il_1", "price_basic", JAN, FEB, 0), total=0, paid=False), trial_end=FEB) == []


def upgrade(moment: int, end: int, old: str, new: str, name: str = "il_up") -> shapes.Invoice:
    return invoice(
        moment,
        line("il_back", old, moment, end, -40_000, proration=True),
        line(name, new, moment, end, 120_000, proration=True),
    )


def test_an_upgrade_is_the_difference_for_the_rest():
    half = (JAN + FEB) // 2
    first = invoice(JAN, line("il_1", "price_basic", JAN, FEB))
    assert told(first, upgrade(half, FEB, "price_basic", "price_pro")) == [
        month("20270131", 50_000), ("upgrade:il_up", 75_000),
    ]  # fmt: skip


def test_prorations_are_read_from_invoice_items_too():
    half = (JAN + FEB) // 2
    item = {"invoice_item": "ii_1", "proration": True, "proration_details": None, "subscription": "sub_1"}
    parent = {"type": "invoice_item_details", "invoice_item_details": item, "subscription_item_details": None}
    both = invoice(
        half,
        line("il_back", "price_basic", half, FEB, -40_000, parent=parent),
        line("il_up", "price_pro", half, FEB, 120_000, parent=parent),
    )
    assert told(invoice(JAN, line("il_1", "price_basic", JAN, FEB)), both)[1] == ("upgrade:il_up", 75_000)


def test_a_downgrade_at_once_moves_nothing():
    half = (JAN + FEB) // 2
    assert told(invoice(JAN, line("il_1", "price_pro", JAN, FEB)), upgrade(half, FEB, "price_pro", "price_basic")) == [
        month("20270131", 200_000)
    ]


def test_a_longer_interval_begins_a_period_less_what_was_given_back():
    half = (JAN + FEB) // 2
    begin = datetime.fromtimestamp(half, UTC)
    change = invoice(
        half,
        line("il_back", "price_basic", half, FEB, -49_950, proration=True),
        line("il_year", "price_pro_year", half, at(2028, 2, 14), 2_999_000),
    )
    grants = told(invoice(JAN, line("il_1", "price_basic", JAN, FEB)), change, now=half)
    assert grants == [month("20270131", 50_000), (f"sub:sub_1:{begin:%Y%m%dT%H%M%SZ}", 175_000)]


def year(**of_sub):
    return [invoice(JAN, line("il_1", "price_basic_year", JAN, NEXT_JAN, 999_000))]


@pytest.mark.parametrize(
    ("now", "start"),
    [(JAN, "20270131"), (FEB - 1, "20270131"), (FEB, "20270228"), (MAR, "20270331"), (NEXT_JAN - 1, "20271231")],
)
def test_a_year_is_granted_by_the_month_counted_from_its_day(now, start):
    assert told(*year(), now=now) == [month(start, 50_000)]


def test_a_year_that_is_over_grants_nothing_more():
    assert told(*year(), now=NEXT_JAN) == []
    assert told(*year(), now=JAN - 1) == []


def test_a_year_that_was_ended_at_once_grants_no_further_month():
    assert told(*year(), now=MAR, status="canceled", ended_at=MAR - 5) == []
    (one,) = dues.of(sub(ended_at=MAR - 5), year(), PRICES, datetime.fromtimestamp(FEB, UTC)).years
    assert one.next_at is None


def test_a_year_says_when_to_look_next():
    (one,) = dues.of(sub(), year(), PRICES, datetime.fromtimestamp(FEB, UTC)).years
    assert one.next_at and int(one.next_at.timestamp()) == MAR


def test_an_upgrade_within_a_year_counts_from_its_month_on():
    middle = (FEB + MAR) // 2
    history = [*year(), upgrade(middle, NEXT_JAN, "price_basic_year", "price_pro_year")]
    assert told(*history, now=middle) == [("upgrade:il_up", 75_000), month("20270228", 50_000)]
    assert told(*history, now=MAR) == [("upgrade:il_up", 75_000), month("20270331", 200_000)]


def test_an_invoice_that_no_row_explains_is_not_passed_over():
    with pytest.raises(UnknownPrice, match="in_1801353600 is for price_other"):
        told(invoice(JAN, line("il_1", "price_other", JAN, FEB)))
