"""Runs every migration on an empty database, as a first deployment does, and throws that database away."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

COMMANDS = (
    "migrate --verbosity 0",
    "makemigrations --check --dry-run",  # no model has changed without its migration
    "seed_catalogue",
    "seed_catalogue",  # and loading it twice is the same as once
    "audit_ledger",
)


def main() -> int:
    url = urlsplit(os.environ["DATABASE_URL"])
    name = f"scratch_{os.getpid()}"
    # Any database will do to create another; this one exists in every cluster.
    with psycopg.connect(urlunsplit(url._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            environment = os.environ | {"DATABASE_URL": urlunsplit(url._replace(path=f"/{name}"))}
            for command in COMMANDS:
                print(f"manage.py {command}", flush=True)
                exit_code = subprocess.call([sys.executable, "manage.py", *command.split()], env=environment)
                if exit_code != 0:
                    return exit_code
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
