"""One Valkey server: its configuration file, and how to start it."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from tenkaigen.embedded.places import Place
from tenkaigen.embedded.state import write_private
from tenkaigen.processes import end, mentions
from tenkaigen.supervisor import Program

DATABASES = 256  # the tests give every run and every xdist worker one of its own
STOP_SECONDS = 10
ANSWER_SECONDS = 0.5


@dataclass(frozen=True)
class Valkey:
    place: Place
    password: str
    port: int

    @property
    def folder(self) -> Path:
        return self.place.home / "valkey"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def create(self, *, is_durable: bool) -> None:
        """Write the configuration: in a file, because anyone may read the arguments of a process."""
        self.place.make_folder("valkey")
        self.clear_stale()
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{self.folder}"',
            "pidfile": f'"{self.folder}/valkey.pid"',
            "databases": str(DATABASES),
            # A full memory must refuse new jobs loudly, never forget waiting ones.
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if is_durable else "no",
            "save": '""',
            "set-proc-title": "no",  # the arguments are how we recognise it
        }
        text = "".join(f"{name} {value}\n" for name, value in lines.items())
        write_private(self._configuration, text, account=self.place.account)

    def program(self) -> Program:
        return Program(
            name="valkey",
            argv=(str(self.place.programs.valkey_server), str(self._configuration)),
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder)},
            cwd=self.folder,
            account=self.place.account,
            orphan_signal=signal.SIGTERM,
            is_echoed=False,
            before_start=self.clear_stale,
        )

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (chunk := connection.recv(256)):
                    answer += chunk
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def clear_stale(self) -> None:
        """End the server an earlier run left behind."""
        try:
            pid = int((self.folder / "valkey.pid").read_text())
        except (OSError, ValueError):
            return
        if mentions(pid, str(self._configuration)):
            end(pid, signal.SIGTERM, seconds=STOP_SECONDS)
        (self.folder / "valkey.pid").unlink(missing_ok=True)

    @property
    def _configuration(self) -> Path:
        return self.folder / "valkey.conf"
