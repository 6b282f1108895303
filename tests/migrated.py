"""A database with every migration applied, made once for each state of the migrations and copied from then on.

Migrating from nothing takes ten seconds of a core, a copy a tenth of one. That the way from nothing works
is what the step `migrations` of `tests/run.py` is for; its database becomes the template.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from generation import postgres_tools

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "migrated_"
LOCK = 7_263_401  # of PostgreSQL, so that two runs make one template


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def maintenance(url: str) -> Iterator[psycopg.Connection]:
    """A connection to the database that every cluster has, from which others are made."""
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:
        yield connection


def template(url: str) -> str:
    """The name of the template at the server of `url`, which is made when it is not there."""
    name = _name()
    with maintenance(url) as connection, _locked(connection):
        if not _exists(connection, name):
            partial = f"partial_{os.getpid()}"
            create(connection, partial)
            try:
                environment = os.environ | {
                    "DATABASE_URL": with_database(url, partial), "DJANGO_SETTINGS_MODULE": "tests.settings"
                }  # fmt: skip
                command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
                subprocess.run(command, cwd=ROOT, env=environment, check=True)
                _keep(connection, partial, name)
            finally:
                drop(connection, partial)
    return name


def keep_copy(url: str, migrated: str) -> None:
    """Make a database that has just been migrated from nothing the template, unless there is one."""
    with maintenance(url) as connection, _locked(connection):
        if not _exists(connection, _name()):
            _keep(connection, migrated, _name())


def pour(url: str, into: str) -> None:
    """Fill an empty database of another server with what the template of the server of `url` has."""
    name = f"poured_{os.getpid()}"
    with maintenance(url) as connection:
        create(connection, name, template(url))
        try:
            major = connection.info.server_version // 10_000
            dump = [_program("pg_dump", major), "--no-owner", "--no-privileges", with_database(url, name)]
            schema = subprocess.run(dump, check=True, capture_output=True).stdout
        finally:
            drop(connection, name)
    load = [_program("psql", major), "--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", into]
    subprocess.run(load, input=schema, check=True, stdout=subprocess.DEVNULL)


def create(connection: psycopg.Connection, name: str, template: str = "template1") -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


def drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _program(name: str, major_min: int) -> str:
    return str(postgres_tools.find_program(name, major_min=major_min))


def _keep(connection: psycopg.Connection, migrated: str, name: str) -> None:
    create(connection, name, migrated)
    # Nobody connects to it, so that it can be copied at any moment.
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    like = PREFIX.replace("_", r"\_") + "%"
    old = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s AND datname <> %s", [like, name])
    for (left,) in old.fetchall():
        drop(connection, left)


def _exists(connection: psycopg.Connection, name: str) -> bool:
    return connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


@contextmanager
def _locked(connection: psycopg.Connection) -> Iterator[None]:
    connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # the end of the session lets go
    yield


def _name() -> str:
    """Changes with every migration of ours, and with the versions of those that are not."""
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("*/migrations/*"), *ROOT.glob("*/*/migrations/*"), *ROOT.glob("requirements*.txt")]):
        if path.is_file():
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return f"{PREFIX}{digest.hexdigest()[:16]}"
