import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.signals import pre_migrate

NAMES = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout")


def limits() -> list[str]:
    with connection.cursor() as cursor:
        found = []
        for name in NAMES:
            cursor.execute(f"SHOW {name}")
            found.append(cursor.fetchone()[0])
        return found


@pytest.mark.django_db
def test_a_migration_may_take_its_time_but_not_wait_long_for_a_lock():
    seen = []
    before = limits()

    def look(**kwargs):
        seen.append(limits())

    pre_migrate.connect(look)
    try:
        call_command("migrate", verbosity=0)
    finally:
        pre_migrate.disconnect(look)
    assert seen[0] == ["0", "0", before[2]]
    assert limits() == before and "0" not in before
