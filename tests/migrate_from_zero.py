"""Runs every migration on an empty database, as a first deployment does, and throws that database away."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import migrated

COMMANDS = (
    "migrate --verbosity 0",
    "makemigrations --check --dry-run",  # no model has changed without its migration
    "seed_catalogue",
    "seed_catalogue",  # and loading it twice is the same as once
    "audit_ledger",
)


def main() -> int:
    url, name = os.environ["DATABASE_URL"], f"scratch_{os.getpid()}"
    with migrated.maintenance(url) as connection:
        migrated.create(connection, name)
        try:
            environment = os.environ | {"DATABASE_URL": migrated.with_database(url, name)}
            for command in COMMANDS:
                print(f"manage.py {command}", flush=True)
                exit_code = subprocess.call([sys.executable, "manage.py", *command.split()], env=environment)
                if exit_code != 0:
                    return exit_code
                if command.startswith("migrate"):
                    migrated.keep_copy(url, name)  # before anything is put into it
        finally:
            migrated.drop(connection, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
