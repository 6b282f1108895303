"""`make run`: the whole of TenkaiGen on one machine, under one supervisor, until Ctrl-C.

Starts embedded PostgreSQL and Valkey unless DATABASE_URL and REDIS_URL name others, brings the database up to
date, then keeps web, GPU worker, trainer, worker and beat running. Everything it writes is under `var`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenkaigen import fake_billing
from tenkaigen.embedded import CannotStart, Server, prepare_postgres, prepare_valkey
from tenkaigen.embedded.state import State, write_private
from tenkaigen.supervisor import Program, Supervisor

ROOT = Path(__file__).resolve().parent.parent
DISK_BYTES_MIN = 500_000_000
SERVER_SECONDS_MAX = 60
SETUP_SECONDS_MAX = 300
WEB_SECONDS_MAX = 60
ANSWER_SECONDS = 2
CONNECT_SECONDS = 0.3
SERVERS = ("postgres", "valkey")
# What a command in another shell must know to meet the same servers; see `settings.py`.
SHARED_NAMES = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ALLOWED_HOSTS", "EMBEDDED", "LOG_FORMAT")


@dataclass(frozen=True)
class Options:
    """What the person at the terminal chose, by environment variables."""

    var: Path
    port: int
    device: str
    given: Mapping[str, str]

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Options:
        try:
            port = int(environment.get("PORT") or 8000)
        except ValueError:
            port = 0
        if not 0 < port < 65_536:
            raise CannotStart(f"PORT must be a number from 1 to 65535, not {environment['PORT']!r}.")
        options = cls(ROOT / "var", port, environment.get("DEVICE") or "cpu", environment)
        fake_billing.check(environment, is_all_embedded=options.is_all_embedded)
        return options

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def is_all_embedded(self) -> bool:
        return not self.given.get("DATABASE_URL") and not self.given.get("REDIS_URL")

    @property
    def has_fake_billing(self) -> bool:
        return self.given.get("BILLING") == fake_billing.FAKE


def main() -> int:
    """Run until a signal comes. Returns the exit code: 0 when asked to stop, 1 with a sentence otherwise."""
    begun = time.monotonic()
    try:
        options = Options.read(os.environ)
        check_disk(options.var)
        with only_one(options.var):
            check_port(options.port)
            return Launch(options, begun).run()
    except CannotStart as error:
        print(f"TenkaiGen cannot start: {error}", file=sys.stderr)
        return 1


def check_disk(var: Path) -> None:
    """Refuse a folder that cannot be written to, or a disk that is as good as full."""
    try:
        var.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=var):
            pass
        free = shutil.disk_usage(var).free
    except OSError as error:
        raise CannotStart(f"the folder {var} cannot be written to ({error.strerror}).") from None
    if free < DISK_BYTES_MIN:
        raise CannotStart(
            f"the disk under {var} has only {free // 1_000_000} MB free: "
            f"make room, it takes {DISK_BYTES_MIN // 1_000_000} MB at least."
        )


def check_port(port: int) -> None:
    """Refuse a port that another program listens on, also when it listens on every address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise CannotStart(f"port {port} is for root only: choose another, `make run PORT=8001`.") from None
        except OSError:
            raise CannotStart(
                f"port {port} is in use by another program: stop it, or choose another port, "
                f"`make run PORT={port + 1 if port < 65_535 else 8001}`."
            ) from None


@contextmanager
def only_one(var: Path) -> Iterator[None]:
    """Hold the lock of this folder: two launchers would fight over its servers."""
    with (var / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise CannotStart(
                f"it already runs from this folder (process {lock.read().strip() or 'unknown'}): stop that one first."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class Launch:
    """One run, from the first server to the last process gone."""

    def __init__(self, options: Options, begun: float) -> None:
        self.options = options
        self.begun = begun
        self.environment = dict(options.given)
        self.supervisor = Supervisor(run_dir=options.var / "run", log_dir=options.var / "log")

    def run(self) -> int:
        self.supervisor.heed_signals()
        self.supervisor.end_strays()
        try:
            self._start_servers()
            self._set_up()
            self._start_programs()
            self.supervisor.run()
        except CannotStart:
            if not self.supervisor.is_stopping:
                raise
        finally:
            self._stop()
        return 0

    def _start_servers(self) -> None:
        """Start what the environment does not name, and tell everybody else where it is."""
        var, given = self.options.var, self.options.given
        servers: list[Server] = []
        known = {
            "EMBEDDED": "1",
            "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
            "SECRET_KEY": State.load(var).secret_key,
            "LOG_FORMAT": "console",
            # Everything here is on loopback; this machine's root knows who it is.
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser",
        }
        for name, prepare in (("REDIS_URL", prepare_valkey), ("DATABASE_URL", prepare_postgres)):
            if not given.get(name):
                server = prepare(var, is_durable=True)
                self.supervisor.start(server.program)
                servers.append(server)
                known[name] = server.url
        self.environment |= {name: value for name, value in known.items() if not given.get(name)}
        if self.options.has_fake_billing:
            self._start_fake_stripe()
        names = SHARED_NAMES + (fake_billing.NAMES if self.options.has_fake_billing else ())
        lines = [f"{name}={self.environment[name]}\n" for name in names]
        write_private(self._env_file, "".join(lines))
        self._expect(lambda: all(server.is_ready() for server in servers), SERVER_SECONDS_MAX, "its servers", SERVERS)

    def _start_fake_stripe(self) -> None:
        port = State.load(self.options.var).free_port("stripe")
        self.environment |= fake_billing.environment(port, self.options.address)
        self.supervisor.start(self._program("stripe", *fake_billing.command(port, self.options.var)))
        page = f"{self.environment['STRIPE_API_HOST']}/"
        self._expect(lambda: _answers_at(page), SERVER_SECONDS_MAX, "the fake Stripe", ("stripe",))

    def _set_up(self) -> None:
        """Bring the database up to date, in one process because Django takes a second to load."""
        argv = [sys.executable, "-m", "tenkaigen.setup_database"]
        if self.options.is_all_embedded:
            argv.append("--demo")
        if self.options.has_fake_billing:
            argv.append("--billing")
        self.supervisor.start(self._program("setup", *argv, is_service=False))
        self._expect(
            lambda: self.supervisor.exit_code("setup") is not None, SETUP_SECONDS_MAX, "the database set-up", ("setup",)
        )
        if self.supervisor.exit_code("setup") != 0:
            raise CannotStart(f"the database could not be set up; the reason is above and in {self._log('setup')}.")
        self.supervisor.stop("setup")

    def _start_programs(self) -> None:
        """Start the web first, alone: a person waits for the page, and the workers take seconds to load."""
        python = sys.executable
        celery = (python, "-m", "celery", "--quiet", "-A", "tenkaigen")
        self.supervisor.start(
            self._program(
                "web",
                *(python, "-m", "gunicorn", "tenkaigen.wsgi", "--worker-class", "gthread"),
                *("--workers", "2", "--threads", "4", "--bind", f"127.0.0.1:{self.options.port}"),
                *("--graceful-timeout", "8", "--no-control-socket"),
            )
        )
        self._expect(self._answers, WEB_SECONDS_MAX, "the web server", ("web",))
        self.supervisor.start(
            self._program("gpu", python, "manage.py", "gpu_worker", "--device", self.options.device),
            self._program(
                "trainer",
                *(python, "manage.py", "gpu_worker", "--device", self.options.device),
                *("--kinds", "creation,refinement"),
            ),
            self._program(
                "worker",
                *(*celery, "worker", "-Q", "default", "-P", "threads", "-c", "4"),
                *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
            ),
            self._program(
                "beat",
                *(*celery, "beat", "--pidfile=", "-s", str(self.options.var / "celerybeat-schedule")),
            ),
        )
        self._welcome()

    def _welcome(self) -> None:
        say = self.supervisor.say
        say(f"TenkaiGen answers at {self.options.address} after {time.monotonic() - self.begun:.1f} s")
        account = self.options.var / "demo-account.txt"
        if self.options.is_all_embedded and account.exists():
            say("sign in as " + ", password ".join(account.read_text().split()))
        if self.options.has_fake_billing:
            say(f"billing is a fake: no money moves; play the bank at {self.environment['STRIPE_API_HOST']}/")
        say("Ctrl-C stops everything")

    def _program(self, name: str, *argv: str, is_service: bool = True) -> Program:
        return Program(name=name, argv=argv, env=self.environment, cwd=ROOT, is_service=is_service)

    def _expect(self, condition: Callable[[], bool], seconds: float, what: str, names: tuple[str, ...]) -> None:
        """Wait for a step of the start. Raises: CannotStart, also when the person no longer wants it."""
        if not self.supervisor.run_until(condition, seconds=seconds):
            logs = ", ".join(str(self._log(name)) for name in names)
            raise CannotStart(f"{what} did not get ready within {seconds} s; the reason is in {logs}.")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.options.port), timeout=CONNECT_SECONDS):
                pass
        except OSError:
            return False
        return _answers_at(f"{self.options.address}healthz")

    def _stop(self) -> None:
        """End the programs first and their servers last, then forget where those were."""
        self.supervisor.say("stopping")
        try:
            self.supervisor.stop("web", "gpu", "trainer", "worker", "beat", "setup", "stripe")
        finally:
            self.supervisor.stop(*SERVERS)
            self._env_file.unlink(missing_ok=True)

    @property
    def _env_file(self) -> Path:
        return self.options.var / "embedded.env"

    def _log(self, name: str) -> Path:
        return self.options.var / "log" / f"{name}.log"


def _answers_at(page: str) -> bool:
    try:
        with urllib.request.urlopen(page, timeout=ANSWER_SECONDS) as response:  # noqa: S310 (ours, http)
            return int(response.status) == 200
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
