"""What the races of the ledger share: acts as calls, and the ledger without one of its guards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connection, transaction

from credits import ledger, locks
from credits.ledger import functions
from credits.pricing import Quote
from tests.faults.processes import wait_for

ONE = Quote(unit_centi=100, count=1)
LOCK = " FOR NO KEY UPDATE"
# Between what a reserve has read and what it writes: long enough for all to have read.
READ = "    IF purse.frozen_reason"
SLOWLY = ((READ, "    PERFORM pg_sleep(1);\n" + READ),)
WITHOUT_LOCK = ((LOCK, ""), *SLOWLY)
ENDED = "    images_left := 100 * images;"
ENDS_WITHOUT_LOCK = ((LOCK, ""), (ENDED, "    PERFORM pg_sleep(1);\n" + ENDED))


def calling(act: Callable[..., Any], **arguments: Any) -> Callable[[], Any]:
    """An act of the ledger in a transaction of its own."""

    def call() -> Any:
        with transaction.atomic():
            return act(**arguments)

    return call


def reserving(team: Any, reference: str, quote: Quote = ONE) -> Callable[[], Any]:
    return calling(ledger.reserve, team_id=team.pk, quote=quote, reference=reference)


def settling(team: Any, reference: str, delivered: int) -> Callable[[], Any]:
    return calling(ledger.settle, team_id=team.pk, reference=reference, delivered=delivered)


def lapsing(team: Any, reference: str) -> Callable[[], Any]:
    return calling(ledger.lapse, team_id=team.pk, reference=reference)


@contextmanager
def altered(*changes: tuple[str, str]) -> Iterator[None]:
    """The ledger's functions with some of their text replaced, for everybody, until the block ends."""
    text = functions.SOURCE.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    with connection.cursor() as cursor:
        cursor.execute(text)
    try:
        yield
    finally:
        functions.install()


def unlocked() -> Any:
    """What Python locks is not locked, until the block ends."""
    return patch.object(locks, "LOCK", locks.LOCK.removesuffix(LOCK))


def wait_for_waiting(count: int) -> None:
    """Until so many connections of this database wait for a lock."""

    def waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # inside a transaction it would not change
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(cursor.fetchone()[0] >= count)

    wait_for(waiting)


@contextmanager
def patient() -> Iterator[None]:
    """Nobody gives up a lock that another one still holds: on a busy machine that may last, and no race is about it."""
    options = connection.settings_dict["OPTIONS"]
    usual = options["options"]
    connection.close()
    options["options"] = f"{usual} -c lock_timeout=60s"
    try:
        yield
    finally:
        connection.close()
        options["options"] = usual


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])
