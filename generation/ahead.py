"""The next batch, claimed and its prompts encoded while the device is still busy with the one before. Never more than
one: what is claimed early cannot be claimed by a worker that is free."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog
from django.db import DatabaseError, close_old_connections, connection

from generation.models import Job

logger = structlog.get_logger(__name__)


class Ahead:
    """`ask` and `take` belong to the thread that draws."""

    def __init__(self, claim: Callable[[], list[Job]], prepare: Callable[[list[Job]], None]) -> None:
        self._claim, self._prepare = claim, prepare
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._future: Future[list[Job]] | None = None
        self._is_stopped = False

    def ask(self) -> None:
        """Begin to look for the next batch. Repeated calls change nothing until it is taken."""
        if self._future is None:
            self._future = self._pool.submit(self._look)

    def take(self) -> list[Job]:
        """The next batch, if one was asked for and found."""
        future, self._future = self._future, None
        return future.result() if future else []

    def stop(self) -> None:
        """Look no more. A repeated call changes nothing."""
        if not self._is_stopped:
            self._is_stopped = True
            self._pool.submit(connection.close)
            self._pool.shutdown(wait=False)

    def _look(self) -> list[Job]:
        try:
            close_old_connections()
            jobs = self._claim()
        except DatabaseError as error:
            logger.warning("database_is_away", error=type(error).__name__)
            return []
        try:
            if jobs:
                self._prepare(jobs)
        except Exception:  # what is wrong with a prompt shows when it is drawn, and is dealt with there
            logger.exception("prepare_failed")
        return jobs
