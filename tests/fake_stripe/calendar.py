"""Stripe's months: counted from an anchor, on its day or the month's last. Written apart from the product's own."""

import calendar
from datetime import UTC, datetime


def step(anchor: int, interval: str, number: int) -> int:
    """The anchor and `number` months or years, as seconds since 1970."""
    start = datetime.fromtimestamp(anchor, UTC)
    months = start.year * 12 + start.month - 1 + number * (12 if interval == "year" else 1)
    year, month = months // 12, months % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def next_after(anchor: int, interval: str, moment: int) -> int:
    """The first boundary after a moment."""
    number = 0
    while step(anchor, interval, number) <= moment:
        number += 1
    return step(anchor, interval, number)
