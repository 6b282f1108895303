"""Months counted from an anchor: 31 January, 28 February, 31 March. Pure."""

from calendar import monthrange
from datetime import datetime


def start_of(anchor: datetime, number: int) -> datetime:
    """When period `number` begins: that many months after the anchor, on its day or the month's last. Never drifts."""
    assert number >= 0
    years, month = divmod(anchor.month - 1 + number, 12)
    year = anchor.year + years
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def number_at(anchor: datetime, moment: datetime) -> int:
    """Which period a moment is in; -1 before the anchor."""
    months = (moment.year - anchor.year) * 12 + moment.month - anchor.month
    if months < 0 or moment < anchor:
        return -1
    return months if start_of(anchor, months) <= moment else months - 1
