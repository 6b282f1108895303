"""The ledger's functions in the database: installed from the file beside this one."""

from pathlib import Path

from django.db import connection

SOURCE = Path(__file__).with_name("functions.sql")


def install(**kwargs: object) -> None:
    """Make the functions what the file says. Runs after every `migrate`; again changes nothing."""
    if "credits_entry" not in connection.introspection.table_names():
        return  # migrated back to before there was a ledger
    with connection.cursor() as cursor:
        cursor.execute(SOURCE.read_text())
