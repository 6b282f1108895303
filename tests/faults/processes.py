"""Real processes of the product, on the servers of this test run, with a fake device whose speed a test chooses."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 120


def environment(**extra: str) -> dict[str, str]:
    """The variables with which a child works on this run's own database and Redis."""
    url = urlsplit(os.environ["DATABASE_URL"])
    database = connection.settings_dict["NAME"]  # pytest-django has put "test_" before it
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{database}")),
        "REDIS_URL": settings.REDIS_URL,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
        "ENGINE": "tests.fake_engine",
        "LEASE_SECONDS": "1.5",
        "HEARTBEAT_SECONDS": "0.3",
        "SWEEP_SECONDS": "0.5",
        "IDLE_POLL_SECONDS": "0.3",
        **extra,
    }


@contextmanager
def running(*arguments: str, log: Path, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `manage.py` process in a group of its own; killed by its id when the block ends, if it still lives."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment(**extra),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def wait_for(what: Callable[[], object], *, seconds: float = START_SECONDS_MAX, log: Path | None = None) -> float:
    """Wait until `what()` is true; how many seconds it took. Fails with the end of the log."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            text = log.read_text()[-3000:] if log and log.exists() else ""
            raise AssertionError(f"nothing after {seconds} s\n{text}")
        time.sleep(0.02)
    return time.monotonic() - began
