"""One PostgreSQL cluster: made once, then started by a supervisor."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tenkaigen.embedded.errors import CannotStart
from tenkaigen.embedded.places import Place
from tenkaigen.embedded.state import write_private
from tenkaigen.processes import end, mentions
from tenkaigen.supervisor import Program

ROLE = DATABASE = "tenkaigen"
SUPERUSER = "postgres"
CONNECTIONS_MAX = 100
STOP_SECONDS = 10
STATUS_LINE = 7  # of postmaster.pid, counted from 0; PostgreSQL writes "ready" there


@dataclass(frozen=True)
class Postgres:
    place: Place
    password: str
    port: int

    @property
    def data(self) -> Path:
        return self.place.home / "postgres"

    @property
    def url(self) -> str:
        return f"postgres://{ROLE}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def create(self, *, is_new_password: bool) -> None:
        """Make the cluster, the role and the database, unless they are there."""
        self.clear_stale()
        if not self.data.exists():
            self._initialise()
        elif is_new_password:
            self.place.make_folder("postgres")
            self._run_alone(self.data, f"ALTER ROLE {ROLE} PASSWORD '{self.password}';\n")
        self.place.make_folder("postgres")  # checks whose it is

    def program(self, *, is_durable: bool) -> Program:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS_MAX),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not is_durable:
            options |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=(str(self.place.programs.postgres), "-D", str(self.data), *settings),
            env=self._environment(),
            cwd=self.data,
            account=self.place.account,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes everything down
            orphan_signal=signal.SIGINT,
            group_stop=False,
            is_echoed=False,
            before_start=self.clear_stale,
        )

    def is_ready(self) -> bool:
        lines = self._pid_file()
        return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"

    def clear_stale(self) -> None:
        """End the server an earlier run left behind, and remove the pid file a crash left behind.

        The process id in that file may by now belong to another program: only one that was started
        on this very folder is ours.
        """
        lines = self._pid_file()
        if not lines:
            return
        pid = abs(int(lines[0]))
        if mentions(pid, str(self.data)):
            end(pid, signal.SIGINT, seconds=STOP_SECONDS)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _initialise(self) -> None:
        """Make the cluster beside its final name, so that a start cut short leaves no half cluster."""
        unfinished = self.place.home / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self.place.make_folder(unfinished.name)
        # initdb insists on a superuser password. Nobody keeps this one: the application is an ordinary role.
        password_file = self.place.home / "postgres.password"
        write_private(password_file, secrets.token_urlsafe(32), account=self.place.account)
        try:
            self._call(
                *(str(self.place.programs.initdb), "-D", str(unfinished), "-U", SUPERUSER),
                *("-A", "scram-sha-256", "--pwfile", str(password_file), "--no-sync", "--no-instructions"),
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                folder=unfinished,
            )
        finally:
            password_file.unlink()
        self._run_alone(
            unfinished,
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{self.password}';\n"
            f"CREATE DATABASE {DATABASE} OWNER {ROLE};\n",
        )
        unfinished.rename(self.data)

    def _run_alone(self, folder: Path, statements: str) -> None:
        """Run SQL, one statement a line, in PostgreSQL's single-user mode: no port, no password needed."""
        program = str(self.place.programs.postgres)
        self._call(program, "--single", "-D", str(folder), "postgres", folder=folder, given=statements)

    def _call(self, *argv: str, folder: Path, given: str = "") -> None:
        account = self.place.account
        result = subprocess.run(
            argv,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
            cwd=folder,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if result.returncode != 0 or "ERROR:" in result.stderr:
            raise CannotStart(f"PostgreSQL could not be set up in {folder}: {_last_line(result.stderr)}")

    def _environment(self) -> dict[str, str]:
        """Return an environment without the caller's PG* variables and locale, which would change the outcome."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.place.home), "TZ": "UTC"}


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
