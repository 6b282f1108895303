"""The GPU worker of this process: made once by `gpu_worker`, found here by the Celery task and the idle poll.

A bell of pictures is answered by the thread that hears it. One of trainings only wakes the thread that looks by itself:
a message that is worked on for hours would be delivered again and again.
"""

import os
import threading
from collections.abc import Collection
from functools import partial
from importlib import import_module

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from generation.engine import Engine
from generation.engine.lazy import LazyEngine
from generation.models import Job
from generation.watchdog import Watchdog
from generation.worker import Worker

logger = structlog.get_logger(__name__)
_worker: Worker | None = None
_wake = threading.Event()


def start(device: str, models: list[str], kinds: Collection[str] = (Job.Kind.IMAGE,)) -> Worker:
    """Build the engine of `device`, load and warm up the models, and begin to look for jobs of some kinds.

    Who only trains builds and loads when there is a training.

    Raises:
        EngineError: no such device, a lever that is refused, or a model is not there.
    """
    global _worker
    assert _worker is None
    draws = Job.Kind.IMAGE in kinds
    worker = Worker(
        _build(device) if draws else LazyEngine(device, partial(_build, device)),
        models=models,
        kinds=kinds,
        watchdog=partial(Watchdog, leave=os._exit, is_hard=True),
    )
    worker.start()
    if draws and settings.WARM_UP:
        worker.warm_up(settings.WARM_UP_SECONDS_MAX)
    _worker = worker
    threading.Thread(target=_look_by_itself, args=(worker,), name="idle-poll", daemon=True).start()
    return worker


def drain() -> None:
    """What the bell does. Quiet in a process without a device: somebody else will claim the job."""
    if _worker is None:
        return
    if not _trains(_worker):
        _worker.drain()
    # And for what came while it looked for the last time, or is left when its time is up: no other bell may follow.
    _wake.set()


def _build(device: str) -> Engine:
    engine: Engine = import_module(settings.ENGINE).build(device, **settings.ENGINE_OPTIONS)
    return engine


def _trains(worker: Worker) -> bool:
    return any(kind != Job.Kind.IMAGE for kind in worker.kinds)


def _look_by_itself(worker: Worker) -> None:
    """A dead Redis rings no bell, so look into PostgreSQL every few seconds, too."""
    while not worker.is_stopping:
        drawn = 0
        try:
            close_old_connections()
            drawn = worker.drain()
        except DatabaseError as error:
            logger.warning("database_is_away", error=type(error).__name__)
        except Exception:  # without this thread a process that only trains would never look again
            logger.exception("drain_failed")
        if not drawn:  # else its time may have been up with more in the queue, which no device should wait for
            _wake.wait(settings.IDLE_POLL_SECONDS)
        _wake.clear()
    connection.close()
