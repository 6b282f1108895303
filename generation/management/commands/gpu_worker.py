"""One process per device: loads its models, then makes what is queued, pictures or models. Listens on nothing.

The first SIGTERM gives back what is not drawn yet, delivers what is, and ends; the second ends at once.
"""

import os
import signal
import sys
from types import FrameType

from celery.signals import worker_shutting_down
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import runtime
from generation.engine import EngineError, catalog
from generation.models import Job
from generation.worker import Worker
from tenkaigen.celery import app

# One thread, one reserved message: the bell of this device. Without prefork there is no fork with CUDA.
CELERY_ARGUMENTS = ["-P", "threads", "-c", "1", "--loglevel", "WARNING"]
CELERY_ARGUMENTS += ["--without-gossip", "--without-mingle", "--without-heartbeat"]


def leave(number: int, frame: FrameType | None) -> None:
    """The first SIGTERM, while Celery does not listen yet."""
    signal.signal(signal.SIGTERM, leave_at_once)
    sys.exit(0)


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """The second SIGTERM. What is still held comes back when its lease runs out."""
    os._exit(128 + number)


def begin_to_leave(worker: Worker) -> None:
    """The first SIGTERM, told by Celery from its signal handler."""
    worker.ask_to_stop()
    signal.signal(signal.SIGTERM, leave_at_once)


class Command(BaseCommand):
    help = "Run the GPU worker of one device, for example --device cuda:0 --models qwen-image-lightning."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--device", default="cpu", help="cpu, cuda:0, cuda:1, ...")
        parser.add_argument("--kinds", default=Job.Kind.IMAGE.value, help="image, creation,refinement, or all")
        parser.add_argument("--models", default=",".join(settings.WORKER_MODELS), help="comma separated")

    def handle(self, *, device: str, models: str, kinds: str, **options: object) -> None:
        names, wanted = _names(models), Job.Kind.values if kinds == "all" else _names(kinds)
        if not wanted or set(wanted) - set(Job.Kind.values):
            raise CommandError(f"not kinds of job: {kinds}. There are: {', '.join(Job.Kind.values)}, and all.")
        if unknown := [name for name in names if name not in catalog.CATALOG]:
            raise CommandError(f"not in the catalogue: {', '.join(unknown)}. There are: {', '.join(catalog.CATALOG)}")
        # Celery heeds SIGTERM only once it has started, and jobs are claimed before that.
        signal.signal(signal.SIGTERM, leave)
        try:
            worker = runtime.start(device, names, wanted)
        except EngineError as error:
            raise CommandError(str(error)) from error
        try:
            worker_shutting_down.connect(lambda **kwargs: begin_to_leave(worker), weak=False)
            queues = sorted({settings.JOB_QUEUES[kind] for kind in wanted})
            name = f"{'-'.join(queues)}-{device}@%h"  # two processes may share a device, but no name
            app.worker_main(["--quiet", "worker", "-n", name, "-Q", ",".join(queues), *CELERY_ARGUMENTS])
        finally:
            worker.stop()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
