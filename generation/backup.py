"""One file that holds the database as of one moment, and the pictures when they lie on this machine.

A tar: `manifest.json`, `database.dump` (PostgreSQL's own format), `images/...`. The manifest counts the rows in the
very snapshot that was dumped, so that a restore can prove that every one came back.
"""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import psycopg
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

from credits.audit import find_drift
from generation import postgres_tools, storage

FORMAT = 1
MANIFEST, DUMP, IMAGES = "manifest.json", "database.dump", "images/"
MANIFEST_BYTES_MAX = 10_000_000
FACTS = {"made_at", "server_major", "dump_major", "sha256", "migrations", "rows", "images", "pictures_in"}
CHUNK_BYTES = 2**20
TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
    ORDER BY 1, 2"""

Manifest = dict[str, Any]


class BackupFailed(Exception):
    """Nothing was written, or nothing was restored; the text says why."""


# --- Backup ---


def write(out: Path, *, with_images: bool) -> Manifest:
    """Write a backup to a file that must not exist yet, readable by its owner alone. Its manifest.

    Raises:
        BackupFailed, postgres_tools.NoProgram.
    """
    if out.exists():
        raise BackupFailed(f"{out} exists already.")
    if with_images and not _is_on_this_machine():
        raise BackupFailed("The pictures are in the bucket, which has backups of its own: leave --images out.")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".backup-") as folder:
        dump, draft = Path(folder, DUMP), Path(folder, "backup.tar")
        manifest = _dump_database(dump)
        manifest["images"] = _count_images() if with_images else None
        draft.touch(mode=0o600)
        with tarfile.open(draft, "w") as tar:
            _add(tar, MANIFEST, json.dumps(manifest, indent=1).encode())
            tar.add(dump, DUMP, filter=_anonymous)
            if with_images:
                _add_images(tar)
        os.link(draft, out)  # unlike a rename, it never replaces
    return manifest


def _dump_database(target: Path) -> Manifest:
    """Dump, and count the rows of the same snapshot."""
    address = postgres_tools.address()
    program = postgres_tools.find_program("pg_dump", major_min=address.server_major)
    with _snapshot(address) as (cursor, snapshot):
        rows = _count_rows(cursor)
        _call(program, ["--format=custom", f"--snapshot={snapshot}", f"--file={target}", address.conninfo], address)
        cursor.execute("SELECT app, name FROM django_migrations ORDER BY 1, 2")
        migrations = [f"{app}.{name}" for app, name in cursor.fetchall()]
    return {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "server_major": address.server_major,
        "dump_major": postgres_tools.major_of(program),
        "sha256": _sha256(target),
        "bytes": target.stat().st_size,
        "migrations": migrations,
        "rows": rows,
        "pictures_in": "files" if _is_on_this_machine() else f"bucket {settings.B2_S3_BUCKET}",
    }


@contextmanager
def _snapshot(address: postgres_tools.Address) -> Iterator[tuple[psycopg.Cursor, str]]:
    """A cursor that sees one moment, and the name under which pg_dump sees the same."""
    password = address.environment["PGPASSWORD"]
    with psycopg.connect(address.conninfo, password=password or None) as own, own.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_export_snapshot()")
        (name,) = cursor.fetchone() or ("",)
        yield cursor, name


def _count_rows(cursor: Any) -> dict[str, int]:
    cursor.execute(TABLES)
    tables = cursor.fetchall()
    rows: dict[str, int] = {}
    for schema, table in tables:
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table)))
        rows[f"{schema}.{table}"] = cursor.fetchone()[0]
    return rows


def _count_images() -> int:
    return sum(1 for _ in storage.walk_everything())


def _add_images(tar: tarfile.TarFile) -> None:
    for key, _ in storage.walk_everything():
        try:
            tar.add(default_storage.path(key), IMAGES + key, filter=_anonymous)
        except FileNotFoundError:  # deleted meanwhile, and so will its row be
            continue


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, BytesIO(content))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


# --- Restore ---


def read_manifest(path: Path) -> Manifest:
    """The manifest of a backup whose dump is whole, and which this version of the code understands.

    Raises:
        BackupFailed: not a backup, damaged, or made by newer code.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            manifest: Manifest = json.loads(_member(tar, MANIFEST).read(MANIFEST_BYTES_MAX))
            with _member(tar, DUMP) as dump:
                digest = hashlib.file_digest(dump, "sha256").hexdigest()  # type: ignore[arg-type]
    except (OSError, tarfile.TarError, ValueError) as error:
        raise BackupFailed(f"{path} is not a backup of TenkaiGen, or is damaged: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or not manifest.keys() >= FACTS:
        raise BackupFailed(f"{path} has no manifest of format {FORMAT}, which this version reads.")
    if digest != manifest["sha256"]:
        raise BackupFailed(f"{path} is damaged: the dump has another SHA-256 than the manifest says.")
    if unknown := sorted(set(manifest["migrations"]) - _known_migrations()):
        raise BackupFailed(f"The backup was made by a newer version: unknown migrations {', '.join(unknown[:5])}.")
    return manifest


def tables_present() -> int:
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        return len(cursor.fetchall())


def restore(path: Path, manifest: Manifest) -> None:
    """Restore into the empty database of the settings: all of it, or nothing.

    Raises:
        BackupFailed, postgres_tools.NoProgram.
    """
    if count := tables_present():
        raise BackupFailed(f"The database is not empty, it has {count} tables. Restore into a new one.")
    address = postgres_tools.address()
    # An older pg_restore does not understand the file.
    program = postgres_tools.find_program("pg_restore", major_min=max(manifest["dump_major"], address.server_major))
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    with tarfile.open(path, "r:") as tar:
        _call(program, [*options, f"--dbname={address.conninfo}"], address, given=_member(tar, DUMP))


def restore_images(path: Path) -> int:
    """Put the pictures of a backup into the store of the settings, whichever that is. How many.

    Raises:
        BackupFailed: the store takes one of them not; those before it are there.
    """
    count, ours = 0, tuple(f"{IMAGES}{folder}/" for folder in storage.folders())
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(ours):
                content = tar.extractfile(member)
                assert content is not None
                try:
                    # The store refuses keys that lead out of it.
                    default_storage.save(member.name.removeprefix(IMAGES), File(content))
                except Exception as error:  # every back end has its own family of errors
                    raise BackupFailed(
                        f"The database is restored, but {member.name} is not: {type(error).__name__}: {error}. "
                        "Look at the store, and begin again with an empty database."
                    ) from error
                count += 1
    return count


def differences(manifest: Manifest) -> list[str]:
    """What is not as it was: rows that are missing or too many, and whatever the ledger's audit finds."""
    with connection.cursor() as cursor:
        now = _count_rows(cursor)
    then = manifest["rows"]
    wrong = [
        f"{table}: {now.get(table, 'no')} rows, not {then.get(table, 'any')}"
        for table in sorted(now.keys() | then.keys())
        if now.get(table) != then.get(table)
    ]
    return wrong + find_drift()


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        content = tar.extractfile(name)
    except KeyError:
        raise ValueError(f"it has no {name}") from None
    if content is None:
        raise ValueError(f"its {name} is not a file")
    return content


def _known_migrations() -> set[str]:
    loader = MigrationLoader(None)
    replaced = {part for migration in loader.disk_migrations.values() for part in migration.replaces}
    return {f"{app}.{name}" for app, name in {*loader.disk_migrations, *replaced}}


# --- Both ---


def _is_on_this_machine() -> bool:
    return isinstance(default_storage, storage.SignedFileSystemStorage)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _call(program: Path, arguments: list[str], address: postgres_tools.Address, given: IO[bytes] | None = None) -> None:
    """Run a program of PostgreSQL. Raises BackupFailed with the last line of what it says."""
    process = subprocess.Popen(
        [str(program), "--no-password", *arguments],
        env=address.environment,
        stdin=subprocess.PIPE if given else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if given and process.stdin:
        try:
            while chunk := given.read(CHUNK_BYTES):
                process.stdin.write(chunk)
        except BrokenPipeError:
            pass  # it gave up, and says why below
    _, said = process.communicate()
    if process.returncode != 0:
        raise BackupFailed(f"{program.name}: {_reason(said.decode(errors='replace'))}")


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if "error:" in line] or said.splitlines()
    return lines[0] if lines else "it failed without a word"
