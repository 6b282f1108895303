"""Real threads, real commits."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from tests.races.ledger import deadlocks, patient


@pytest.fixture(scope="package", autouse=True)
def no_deadlock(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """PostgreSQL broke no deadlock over the whole suite: one that it breaks costs a second, and somebody's work."""
    with django_db_blocker.unblock():
        before = deadlocks()
        connection.close()
    yield
    with django_db_blocker.unblock():
        happened = deadlocks() - before
        connection.close()
    assert happened == 0, f"{happened} deadlocks in pg_stat_database"


@pytest.fixture(autouse=True)
def commits(transactional_db: None) -> Iterator[None]:
    """Every race needs rows that other connections can see, and the time that the machine takes."""
    with patient():
        yield


@pytest.fixture
def run_together() -> Callable[[list[Callable[[], Any]]], list[Any]]:
    """Run calls at the same moment, each on a connection of its own; errors come back as results."""

    def run(calls: list[Callable[[], Any]]) -> list[Any]:
        barrier = Barrier(len(calls))

        def one(call: Callable[[], Any]) -> Any:
            try:
                barrier.wait(timeout=30)
                return call()
            except Exception as error:
                return error
            finally:
                connection.close()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(one, calls))

    return run
