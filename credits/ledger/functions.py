"""The ledger's functions in the database: installed from the file beside this one."""

from pathlib import Path

from django.db import connection, transaction

SOURCE = Path(__file__).with_name("functions.sql")


@transaction.atomic
def install(**kwargs: object) -> None:
    """Make the functions what the file says. Runs after every `migrate`; again changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL check_function_bodies = off")  # migrated back, there may be no such column
        cursor.execute(SOURCE.read_text())
