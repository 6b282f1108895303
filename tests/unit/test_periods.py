"""Months counted from an anchor never drift, never overlap and leave no gap."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credits.periods import number_at, start_of

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def days(anchor: datetime, number: int) -> list[str]:
    return [start_of(anchor, place).date().isoformat() for place in range(number)]


def test_the_last_of_january_is_the_last_of_every_month_and_comes_back():
    anchor = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert days(anchor, 5) == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]
    assert start_of(anchor, 13).isoformat() == "2027-02-28T09:30:00+00:00"


@pytest.mark.parametrize(("year", "day"), [(2024, 29), (2027, 28), (2028, 29), (2100, 28), (2000, 29)])
def test_february_has_the_days_its_year_gives_it(year, day):
    assert start_of(datetime(year, 1, 30, tzinfo=UTC), 1) == datetime(year, 2, day, tzinfo=UTC)


def test_a_leap_day_is_the_28th_in_other_years_and_the_29th_again():
    anchor = datetime(2024, 2, 29, tzinfo=UTC)
    assert [start_of(anchor, 12 * years).date().isoformat() for years in range(5)] == [
        "2024-02-29",
        "2025-02-28",
        "2026-02-28",
        "2027-02-28",
        "2028-02-29",
    ]


@given(anchor=MOMENTS, number=st.integers(0, 600))
def test_a_month_follows_from_its_anchor_alone(anchor, number):
    begin, end = start_of(anchor, number), start_of(anchor, number + 1)
    assert 28 <= (end - begin).days <= 31
    assert begin.day == anchor.day or (begin.day < anchor.day and (begin + timedelta(days=1)).day == 1)
    assert begin.timetz() == anchor.timetz()


@given(anchor=MOMENTS, moment=MOMENTS)
def test_every_moment_is_in_exactly_one_month(anchor, moment):
    number = number_at(anchor, moment)
    if moment < anchor:
        assert number == -1
    else:
        assert start_of(anchor, number) <= moment < start_of(anchor, number + 1)


@given(anchor=MOMENTS, number=st.integers(0, 600))
def test_a_month_begins_at_its_first_moment_and_not_before(anchor, number):
    begin = start_of(anchor, number)
    assert number_at(anchor, begin) == number
    assert number_at(anchor, begin - timedelta(microseconds=1)) == number - 1
