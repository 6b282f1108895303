"""The product on real servers for the length of one benchmark: a scratch database, processes, people.

PostgreSQL and Valkey are those of the tests (`tests/servers.py`), or what DATABASE_URL and REDIS_URL name; settings are
the product's own. Nothing is left behind.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests import migrated, servers

if TYPE_CHECKING:
    from accounts.models import User

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 30
LOG_END_CHARS = 3000


@contextmanager
def scratch() -> Iterator[Path]:
    """Set Django up on a migrated, seeded database of our own; yields a folder for pictures and logs."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that what follows is cleaned up
    is_redis_ours = not os.environ.get("REDIS_URL")
    os.environ.pop("PYTEST_XDIST_WORKER", None)  # a test started us: its folder is not ours
    servers.export_environment()
    folder = Path(os.environ["TENKAIGEN_TEST_DIR"])
    url, name = os.environ["DATABASE_URL"], f"bench_{os.getpid()}"
    template = migrated.template(url)
    with migrated.maintenance(url) as connection:
        migrated.create(connection, name, template)
        try:
            os.environ |= {
                "RATE_LIMITS": "0",  # a benchmark clicks faster than a plan lets people click
                "DATABASE_URL": migrated.with_database(url, name),
                "DJANGO_SETTINGS_MODULE": "tenkaigen.settings",
                "IMAGE_DIR": str(folder / "images"),
                "HF_HUB_OFFLINE": "1",
            }
            _set_up(is_redis_ours)
            yield folder
        finally:
            migrated.drop(connection, name)
            shutil.rmtree(folder, ignore_errors=True)


def _set_up(is_redis_ours: bool) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    logging.disable(logging.INFO)  # in this process; the product's own processes log as they do
    call_command("migrate", interactive=False, verbosity=0)  # a copy has it all but the functions of today
    call_command("seed_catalogue", stdout=io.StringIO())
    if is_redis_ours:
        from generation import events

        events.client().flushdb()


@contextmanager
def running(*argv: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the product in a group of its own, ended when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *argv],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def web(folder: Path, *, processes: int) -> Iterator[int]:
    """gunicorn as `make run` starts it, with so many processes; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    argv = ["-m", "gunicorn", "tenkaigen.wsgi", "--worker-class", "gthread", "--threads", "4", "--no-control-socket"]
    argv += ["--workers", str(processes), "--bind", f"127.0.0.1:{port}"]
    log = folder / "web.log"
    with running(*argv, log=log):
        wait_for(lambda: _answers(port), log)
        yield port


@contextmanager
def gpu_worker(folder: Path, **environment: str) -> Iterator[None]:
    """The worker of one device as `make run` starts it, ready to claim."""
    from generation import events

    log = folder / "gpu.log"
    with running("manage.py", "gpu_worker", "--device", "cpu", log=log, **environment):
        wait_for(lambda: any(worker["state"] == "idle" for worker in events.workers() or []), log)
        yield


def wait_for(what: Callable[[], object], log: Path) -> None:
    """Wait until `what()` is true. Fails with the end of the log."""
    until = time.monotonic() + START_SECONDS_MAX
    while not what():
        if time.monotonic() > until:
            raise AssertionError(f"nothing after {START_SECONDS_MAX} s\n{log.read_text()[-LOG_END_CHARS:]}")
        time.sleep(0.05)


def session_of(user: User) -> str:
    """The cookie of somebody who has signed in."""
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def _answers(port: int) -> bool:
    from benchmarks.support.http import Connection

    try:
        with Connection(port) as connection:
            return connection.get("/healthz").startswith(b"HTTP/1.1 200")
    except OSError:
        return False
