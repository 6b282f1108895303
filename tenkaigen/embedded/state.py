"""What the embedded servers remember between two starts: passwords, ports and the place of their data.

One file, `var/embedded.json`, readable by its owner only. Nobody else writes it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tenkaigen.embedded.errors import CannotStart
from tenkaigen.processes import Account

FILE_NAME = "embedded.json"


def _secret() -> str:
    return secrets.token_urlsafe(50)


@dataclass
class State:
    path: Path
    is_new: bool = True
    secret_key: str = field(default_factory=_secret)
    postgres_password: str = field(default_factory=_secret)
    valkey_password: str = field(default_factory=_secret)
    ports: dict[str, int] = field(default_factory=dict)
    home: str = ""  # of the data, when it cannot be under `var`

    @classmethod
    def load(cls, var: Path) -> State:
        """Read the state below `var`, or make and keep a fresh one."""
        path = var / FILE_NAME
        try:
            return cls(path=path, is_new=False, **json.loads(path.read_text()))
        except FileNotFoundError:
            state = cls(path=path)
            state.save()
            return state
        except PermissionError:
            raise CannotStart(f"{path} belongs to another user: run as that user, or remove it.") from None
        except (ValueError, TypeError):
            raise CannotStart(f"{path} cannot be read: put it back from a backup, or remove it.") from None

    def save(self) -> None:
        known = {name: value for name, value in asdict(self).items() if name not in ("path", "is_new")}
        write_private(self.path, json.dumps(known, indent=1))

    def free_port(self, name: str) -> int:
        """Return the port this server had before; another one, and remember it, when that is taken."""
        port = self.ports.get(name, 0)
        if not _is_free(port):
            port = 0
        if not port:
            self.ports[name] = port = _any_port()
            self.save()
        return port


def write_private(path: Path, text: str, *, account: Account | None = None) -> None:
    """Replace a file by one that only its owner (`account`, else we) can read, never half written."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if account:
        os.chown(partial, account.uid, account.gid)
    partial.replace(path)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
