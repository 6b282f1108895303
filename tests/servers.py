"""A pytest plugin: real PostgreSQL and Valkey for every test run, before Django reads its settings.

DATABASE_URL and REDIS_URL are used as they are when set. Otherwise all runs of this checkout share one pair of
servers under var/test, and each run has a database and a range of Valkey databases of its own, so two people
(or two terminals) can test at the same time. A keeper process owns the servers and ends them with the last
run, also when that run was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tenkaigen.embedded import CannotStart, prepare_postgres, prepare_valkey
from tenkaigen.processes import wait_until
from tenkaigen.supervisor import Supervisor

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "test"
ADDRESSES = VAR / "addresses.json"
START_SECONDS_MAX = 180
RUNS_MAX = 16  # at the same time
VALKEY_DATABASES_PER_RUN = 16  # the run itself, and its xdist workers
BROWSERS = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_held: list[int] = []  # lock files, open until this process ends


class NotReady(Exception):
    """The tests cannot run here; the text says what to install or set."""


@pytest.hookimpl(wrapper=True, tryfirst=True)  # as a wrapper it comes before pytest-django, which loads the settings
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Start the servers and export their addresses."""
    try:
        export_environment()
    except (NotReady, CannotStart) as error:
        raise pytest.UsageError(f"TenkaiGen's tests cannot run: {error}") from None
    return (yield)


def export_environment() -> None:
    """Set every variable that `tests.settings` needs, in this process and its children."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        _use_own_valkey_database(int(worker.removeprefix("gw")) + 1)
        return
    environ = os.environ
    test_dir = tempfile.mkdtemp(prefix="tenkaigen-tests-")
    environ["TENKAIGEN_TEST_DIR"] = test_dir
    environ["EMBEDDED"] = "1"
    environ["DEBUG"] = "0"
    environ.setdefault("SECRET_KEY", "tests-only-" + "x" * 50)
    environ.setdefault("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver")
    if environ.get("DATABASE_URL") and environ.get("REDIS_URL"):
        return
    addresses = join_servers()
    slot = _take_slot()
    if not environ.get("DATABASE_URL"):
        environ["DATABASE_URL"] = _with_path(addresses["postgres"], f"tenkaigen_{slot}")
    if not environ.get("REDIS_URL"):
        environ["REDIS_URL"] = _with_path(addresses["valkey"], str(slot * VALKEY_DATABASES_PER_RUN))
        environ["TENKAIGEN_TEST_REDIS_URL"] = environ["REDIS_URL"]


def join_servers() -> dict[str, str]:
    """Return the addresses of this checkout's test servers, starting them when nobody has yet.

    The lock taken here says "still in use" until this process ends, whatever ends it.
    """
    VAR.mkdir(parents=True, exist_ok=True)
    with _lock("start.lock", fcntl.LOCK_EX):
        _held.append(_open_lock("users.lock", fcntl.LOCK_SH))
        if not _is_kept():
            ADDRESSES.unlink(missing_ok=True)
            _start_keeper()
        return dict(json.loads(ADDRESSES.read_text()))


def keep() -> int:
    """Own the servers until nobody holds `users.lock`. Runs as `python -m tests.servers`."""
    keeper_lock = _open_lock("keeper.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
    supervisor = Supervisor(run_dir=VAR / "run", log_dir=VAR / "log")
    supervisor.heed_signals()
    supervisor.end_strays()
    try:
        valkey = prepare_valkey(VAR, is_durable=False)
        supervisor.start(valkey.program)
        postgres = prepare_postgres(VAR, is_durable=False)
        supervisor.start(postgres.program)
        is_ready = supervisor.run_until(lambda: postgres.is_ready() and valkey.is_ready(), seconds=START_SECONDS_MAX)
        if is_ready:
            _write_addresses({"postgres": postgres.url, "valkey": valkey.url})
            supervisor.run_until(_is_unused)
    finally:
        ADDRESSES.unlink(missing_ok=True)
        supervisor.stop()
        os.close(keeper_lock)
    return 0


def browser_path() -> str:
    """Return the Chromium to test with. Raises: NotReady, with how to get one."""
    given = os.environ.get("CHROMIUM_PATH", "")
    for candidate in (given,) if given else BROWSERS:
        if found := shutil.which(candidate):
            return found
    if given:
        raise NotReady(f"CHROMIUM_PATH names {given}, which is not a program.")
    raise NotReady(
        "there is no Chromium: install it (Debian and Ubuntu: `apt-get install --no-install-recommends chromium`), "
        "or set CHROMIUM_PATH to a Chrome or Chromium program."
    )


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, object]:
    """Tell pytest-playwright which browser to start and how; a missing one fails the test, it never skips."""
    try:
        path = browser_path()
    except NotReady as error:
        pytest.fail(str(error), pytrace=False)
    arguments = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    arguments += ["--disable-component-update", "--disable-sync"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    return {"executable_path": path, "args": arguments, "headless": True}


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        shutil.rmtree(os.environ.get("TENKAIGEN_TEST_DIR", ""), ignore_errors=True)


def _use_own_valkey_database(number: int) -> None:
    """Keep the xdist workers of one run apart; an address that came from outside is left alone."""
    url = os.environ.get("TENKAIGEN_TEST_REDIS_URL")
    if url:
        base = int(urlsplit(url).path.strip("/"))
        os.environ["REDIS_URL"] = _with_path(url, str(base + number % VALKEY_DATABASES_PER_RUN))


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def _take_slot() -> int:
    for slot in range(RUNS_MAX):
        try:
            _held.append(_open_lock(f"slot-{slot}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB))
        except OSError:
            continue
        return slot
    raise NotReady(f"{RUNS_MAX} test runs of this checkout are going on already.")


def _is_kept() -> bool:
    """Return whether a keeper is there with its servers ready; wait for one that is just leaving to be gone."""
    if ADDRESSES.exists() and not _is_free("keeper.lock"):
        return True
    if not wait_until(lambda: _is_free("keeper.lock"), seconds=START_SECONDS_MAX):
        raise NotReady(f"the keeper of the test servers hangs, see {VAR / 'keeper.log'}.")
    return False


def _is_free(name: str) -> bool:
    try:
        os.close(_open_lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _start_keeper() -> None:
    with (VAR / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.servers"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    wait_until(lambda: ADDRESSES.exists() or keeper.poll() is not None, seconds=START_SECONDS_MAX)
    if not ADDRESSES.exists():
        raise NotReady(f"the test servers did not start: {(VAR / 'keeper.log').read_text()[-2000:]}")


def _is_unused() -> bool:
    """Return whether the last run is over; a run that is just starting holds `start.lock`."""
    try:
        with _lock("start.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
            os.close(_open_lock("users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB))
            ADDRESSES.unlink(missing_ok=True)
            return True
    except OSError:
        return False


def _write_addresses(addresses: dict[str, str]) -> None:
    partial = ADDRESSES.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(addresses))
    partial.replace(ADDRESSES)


def _open_lock(name: str, mode: int) -> int:
    """Open and lock a file; closing it, or the end of the process, lets go. Raises: OSError when it is taken."""
    file = os.open(VAR / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, mode)
    except OSError:
        os.close(file)
        raise
    return file


@contextmanager
def _lock(name: str, mode: int) -> Iterator[None]:
    file = _open_lock(name, mode)
    try:
        yield
    finally:
        os.close(file)


if __name__ == "__main__":
    sys.exit(keep())
