import signal
from typing import Any

from django.core.management.base import BaseCommand

from generation.remote.work import RemoteWorker, run
from tenkaigen import outgoing
from tenkaigen.signals import Stop


class Command(BaseCommand):
    help = "Let remote GPU providers draw: post jobs, ask and fetch. Any number may run; each needs no device."

    def handle(self, **options: Any) -> None:
        run(RemoteWorker(outgoing.Client()), Stop(signal.SIGTERM, signal.SIGINT))
