"""What tests of the worker share."""

import threading
from typing import Any

from credits.audit import find_drift
from credits.queries import balance_of
from generation.watchdog import Watchdog
from generation.worker import Worker
from tests.factories import team_of


def run(worker: Worker) -> None:
    """Draw what is queued, until it is delivered."""
    worker.drain()
    worker.wait_for_post_stage()


def credits_of(user: Any) -> tuple[int, int]:
    """(available, set aside), in hundredths, of a ledger without drift."""
    assert find_drift() == []
    now = balance_of(team_of(user))
    return now.available_centi, now.held_centi


def worker_that_may_hang(engine: Any) -> tuple[Worker, list[int], threading.Event]:
    """A started worker whose process does not end: the exit codes it would have ended with, and what sets in then."""
    ended, has_left = [], threading.Event()

    def leave(code: int) -> None:
        ended.append(code)
        has_left.set()

    worker = Worker(engine, models=["starter"], watchdog=lambda on_hang: Watchdog(on_hang, leave=leave))
    worker.start()
    return worker, ended, has_left
