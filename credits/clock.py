"""The one clock of money: the database's."""

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """This moment, as the database sees it, in UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
