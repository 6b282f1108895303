"""Counts of a day without anybody's name: visits, alarms, answers of the REST interface.

No cookie, no address, nothing that leads to a person.
"""

from datetime import date

import structlog
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from generation import events

logger = structlog.get_logger(__name__)

VISIT = "visit"
ALARM = "alarm:"
ANSWER = "api:"
NAME_CHARS_MAX = 40
UPSERT = """
INSERT INTO generation_daycount (day, name, count) VALUES (%s, %s, %s)
ON CONFLICT (day, name) DO UPDATE SET count = generation_daycount.count + EXCLUDED.count
"""


def add(name: str, times: int = 1, day: date | None = None) -> None:
    """Count in the database, now."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(UPSERT, [day or timezone.localdate(), name[:NAME_CHARS_MAX], times])


def add_soon(name: str) -> None:
    """Count in Redis, to be written down within the minute: everybody's visits would queue for one row's lock.

    Without Redis it is written down at once; without the database, too, it is lost. Nothing is raised.
    """
    if events.add_to_count(f"{timezone.localdate()}|{name}"):
        return
    try:
        add(name)
    except DatabaseError as error:
        logger.warning("count_lost", name=name, error=type(error).__name__)


def add_if_cheap(name: str) -> None:
    """As `add_soon`, for what happens so often that without Redis it is rather not counted."""
    events.add_to_count(f"{timezone.localdate()}|{name}")


def write_down() -> int:
    """Move what waits in Redis into the database. How many counts there were."""
    waiting = events.take_counts()
    for field, times in waiting.items():
        day, _, name = field.partition("|")
        try:
            add(name, times, date.fromisoformat(day))
        except DatabaseError:
            events.add_to_count(field, times)
    return len(waiting)
