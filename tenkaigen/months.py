"""Calendar months in UTC. Pure."""

from datetime import UTC, datetime


def month_of(moment: datetime) -> tuple[datetime, datetime]:
    """The calendar month (UTC) that a moment is in: its first instant, and that of the next."""
    utc = moment.astimezone(UTC)
    since = datetime(utc.year, utc.month, 1, tzinfo=UTC)
    year, month = divmod(utc.year * 12 + utc.month, 12)
    return since, datetime(year, month + 1, 1, tzinfo=UTC)
