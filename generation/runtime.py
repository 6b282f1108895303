"""The GPU worker of this process: made once by `gpu_worker`, found here by the Celery task and the idle poll."""

import os
import threading
from functools import partial
from importlib import import_module

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from generation.watchdog import Watchdog
from generation.worker import Worker

logger = structlog.get_logger(__name__)
_worker: Worker | None = None


def start(device: str, models: list[str]) -> Worker:
    """Build the engine of `device`, load and warm up the models, and begin to look for jobs.

    Raises:
        EngineError: no such device, a lever that is refused, or a model is not there.
    """
    global _worker
    assert _worker is None
    engine = import_module(settings.ENGINE).build(device, **settings.ENGINE_OPTIONS)
    worker = Worker(engine, models=models, watchdog=partial(Watchdog, leave=os._exit, is_hard=True))
    worker.start()
    if settings.WARM_UP:
        worker.warm_up(settings.WARM_UP_SECONDS_MAX)
    _worker = worker
    threading.Thread(target=_look_by_itself, args=(worker,), name="idle-poll", daemon=True).start()
    return worker


def drain() -> None:
    """What the bell does. Quiet in a process without a device: somebody else will claim the job."""
    if _worker is not None:
        _worker.drain()


def _look_by_itself(worker: Worker) -> None:
    """A dead Redis rings no bell, so look into PostgreSQL every few seconds, too."""
    pause = threading.Event()
    while not worker.is_stopping:
        try:
            close_old_connections()
            worker.drain()
        except DatabaseError as error:
            logger.warning("database_is_away", error=type(error).__name__)
        pause.wait(settings.IDLE_POLL_SECONDS)
    connection.close()
