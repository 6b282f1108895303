"""A backup of a living database comes back, row for row, in an empty one; everything else is refused."""

import io
import json
import os
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql

from credits.audit import find_drift
from generation import backup, postgres_tools, storage
from tests.factories import make_job, make_user

ROOT = Path(__file__).resolve().parents[2]


def address_of(name: str) -> str:
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


@contextmanager
def empty_database(name: str):
    """A new database on the test server; gone afterwards."""
    with psycopg.connect(address_of("postgres"), autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield address_of(name)
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def target():
    with empty_database(f"restored_{os.getpid()}") as address:
        yield address


def manage(address: str, *arguments: str, **extra: str) -> tuple[int, str]:
    """A command of the product, in its own process, on another database."""
    ran = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        env=os.environ | {"DATABASE_URL": address, "DJANGO_SETTINGS_MODULE": "tests.settings", **extra},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return ran.returncode, ran.stdout + ran.stderr


def contents(address: str) -> dict[str, list[tuple]]:
    """Every row of every table, and where every sequence stands."""
    with psycopg.connect(address) as database:
        tables = [row[0] for row in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        found = {
            table: sorted(
                row[0] for row in database.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
            )
            for table in tables
        }
        numbers = database.execute("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")
        return {**found, "sequences": numbers.fetchall()}


@pytest.fixture
def lived_in(transactional_db, catalogue, bell, settings, tmp_path, worker):
    """People, grants, a finished job, one that waits with its hold, and pictures in a folder of this test."""
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "generation.storage.SignedFileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "images")},
        }
    }
    user = make_user(credits=100, email="ada@example.com")
    make_user(credits=3)
    make_job(user, count=2)
    worker.drain()
    worker.wait_for_post_stage()
    worker.stop()  # what it says of itself every few seconds would differ before and after
    make_job(user, prompt="a fox that waits — 狐")
    connection.cursor().execute("ANALYZE")
    return user


def call(capsys, *arguments) -> list[str]:
    call_command(*arguments)
    return capsys.readouterr().out.splitlines()


def test_everything_comes_back_in_an_empty_database(lived_in, target, tmp_path, capsys):
    file = tmp_path / "backup.tar"
    lines = call(capsys, "backup", "--out", str(file), "--images")
    assert lines[-1] == "images: 6" and file.stat().st_mode & 0o777 == 0o600
    assert set(os.listdir(tmp_path)) == {"images", "backup.tar"}

    elsewhere = tmp_path / "elsewhere"
    program = f"from tests.settings import *;STORAGES['default']['OPTIONS'] = {{'location': {str(elsewhere)!r}}}"
    (tmp_path / "restored_settings.py").write_text(program)
    own = {"DJANGO_SETTINGS_MODULE": "restored_settings", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    code, said = manage(target, "restore", str(file), "--into-empty", **own)
    assert code == 0, said
    assert "images restored: 6" in said and "rows and ledger: as they were" in said

    source = address_of(connection.settings_dict["NAME"])
    before, after = contents(source), contents(target)
    assert len(before["credits_entry"]) > 4 and len(before["generation_image"]) == 2
    assert after == before
    assert find_drift() == [] and manage(target, "audit_ledger") == (
        0,
        f"entries: {len(before['credits_entry'])} drift: 0\n",
    )
    for key in storage.walk():
        assert (elsewhere / key).read_bytes() == storage.read(key)
    assert manage(target, "migrate", "--check")[0] == 0
    with psycopg.connect(target) as database, pytest.raises(psycopg.IntegrityError, match="append-only"):
        database.execute("UPDATE credits_entry SET amount_centi = 1")  # the ledger's triggers came back, too


def test_the_manifest_counts_what_was_dumped_and_not_what_came_after(lived_in, target, tmp_path, monkeypatch):
    """Between the count and the dump somebody is granted credits: the backup knows nothing of it."""
    real = backup._call

    def grant_first(*arguments, **extra):
        with psycopg.connect(address_of(connection.settings_dict["NAME"])) as other:
            other.execute("INSERT INTO django_session VALUES ('late', 'x', now())")
        real(*arguments, **extra)

    monkeypatch.setattr(backup, "_call", grant_first)
    manifest = backup.write(tmp_path / "backup.tar", with_images=False)
    assert manifest["rows"]["public.django_session"] == 0
    code, said = manage(target, "restore", str(tmp_path / "backup.tar"), "--into-empty")
    assert code == 0, said
    assert contents(target)["django_session"] == []


def test_restoring_into_a_database_with_tables_is_refused_and_changes_nothing(lived_in, tmp_path, capsys):
    call_command("backup", "--out", str(tmp_path / "backup.tar"))
    ledger_before = contents(address_of(connection.settings_dict["NAME"]))
    with pytest.raises(CommandError, match=r"^The database is not empty, it has \d+ tables"):
        call_command("restore", str(tmp_path / "backup.tar"), "--into-empty")
    assert contents(address_of(connection.settings_dict["NAME"])) == ledger_before


def test_without_the_word_a_backup_is_only_looked_at(lived_in, target, tmp_path, capsys):
    call_command("backup", "--out", str(tmp_path / "backup.tar"))
    code, said = manage(target, "restore", str(tmp_path / "backup.tar"))
    assert code == 0 and "database of these settings: empty" in said
    assert contents(target) == {"sequences": []}


def test_a_damaged_backup_is_refused(lived_in, tmp_path):
    file = tmp_path / "backup.tar"
    call_command("backup", "--out", str(file))
    whole = file.read_bytes()
    with tarfile.open(file) as tar:
        place = tar.getmember("database.dump").offset_data + 2000
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(backup.BackupFailed, match="another SHA-256"):
        backup.read_manifest(file)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(backup.BackupFailed, match="is damaged"):
        backup.read_manifest(file)
    file.write_bytes(b"not a tar")
    with pytest.raises(backup.BackupFailed, match="not a backup of TenkaiGen"):
        backup.read_manifest(file)


def test_a_backup_of_newer_code_is_refused(lived_in, tmp_path):
    file = tmp_path / "backup.tar"
    manifest = backup.write(file, with_images=False)
    manifest["migrations"].append("generation.0099_from_the_future")
    with tarfile.open(file) as tar:
        dump = tar.extractfile("database.dump").read()
    with tarfile.open(file, "w") as tar:
        for name, content in (("manifest.json", json.dumps(manifest).encode()), ("database.dump", dump)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(backup.BackupFailed, match=r"newer version: unknown migrations generation\.0099"):
        backup.read_manifest(file)


@pytest.mark.parametrize("manifest", [[], {}, {"format": 1}, {"format": 2}, "x", None])
def test_a_manifest_that_lacks_something_is_refused_in_one_line(tmp_path, manifest):
    file = tmp_path / "backup.tar"
    with tarfile.open(file, "w") as tar:
        for name, content in (("manifest.json", json.dumps(manifest).encode()), ("database.dump", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(CommandError, match="has no manifest of format 1"):
        call_command("restore", str(file))


def test_a_server_that_is_away_is_one_line_for_whoever_asks():
    for command in (["backup", "--out", "x.tar"], ["report"]):
        code, said = manage("postgres://u@127.0.0.1:1/x", *command)
        assert code == 1 and said.startswith("OperationalError: connection failed") and "Traceback" not in said
    assert "Traceback" in manage("postgres://u@127.0.0.1:1/x", "report", "--traceback")[1]


def test_a_restore_that_differs_says_where(lived_in, tmp_path):
    manifest = backup.write(tmp_path / "backup.tar", with_images=False)
    assert backup.differences(manifest) == []
    now = manifest["rows"]["public.credits_grant"]
    ledger_rows = {**manifest["rows"], "public.credits_grant": now + 1, "public.gone": 3}
    assert backup.differences({**manifest, "rows": ledger_rows}) == [
        f"public.credits_grant: {now} rows, not {now + 1}",
        "public.gone: no rows, not 3",
    ]


def test_a_picture_whose_name_leads_out_of_the_store_is_refused(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "generation.storage.SignedFileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "images")},
        }
    }
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        member = tarfile.TarInfo("images/ai-generated/../../evil.png")
        tar.addfile(member, io.BytesIO(b""))
    with pytest.raises(backup.BackupFailed, match=r"evil\.png is not: SuspiciousFileOperation"):
        backup.restore_images(tmp_path / "evil.tar")
    assert not (tmp_path / "evil.png").exists()


def test_an_existing_file_is_never_replaced(lived_in, tmp_path):
    (tmp_path / "backup.tar").write_text("precious")
    with pytest.raises(CommandError, match="exists already"):
        call_command("backup", "--out", str(tmp_path / "backup.tar"))
    assert (tmp_path / "backup.tar").read_text() == "precious"


def test_a_pg_dump_that_is_too_old_is_named_and_not_used(tmp_path, monkeypatch):
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.3'\n")
    old.chmod(0o755)
    monkeypatch.setattr(postgres_tools, "_folders", lambda: [tmp_path])
    with pytest.raises(postgres_tools.NoProgram, match=r"pg_dump 17 or newer is needed, and .* is version 12"):
        postgres_tools.find_program("pg_dump", major_min=17)
    assert postgres_tools.find_program("pg_dump", major_min=12) == old


@pytest.mark.django_db
def test_the_password_is_in_no_argument():
    address = postgres_tools.address()
    assert urlsplit(os.environ["DATABASE_URL"]).password == address.environment["PGPASSWORD"]
    assert address.environment["PGPASSWORD"] not in address.conninfo and "options" not in address.conninfo


def test_pictures_in_a_bucket_are_not_copied(settings, tmp_path, transactional_db):
    settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}
    with pytest.raises(CommandError, match="in the bucket"):
        call_command("backup", "--out", str(tmp_path / "backup.tar"), "--images")
    assert os.listdir(tmp_path) == []
