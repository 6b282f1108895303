import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from generation.remote.work import RemoteWorker, run
from tenkaigen import outgoing


class Command(BaseCommand):
    help = "Let remote GPU providers draw: post jobs, ask and fetch. Any number may run; each needs no device."

    def handle(self, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *args: stopping.set())
        run(RemoteWorker(outgoing.Client()), stopping)
