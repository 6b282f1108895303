"""A backup, back into an empty database."""

import sys
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import backup, postgres_tools


class Command(BaseCommand):
    help = "Check a backup and say what it holds; with --into-empty, restore it. Exits 1 when anything differs after."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--into-empty", action="store_true", help="restore, not only check; refused unless the database is empty"
        )

    def handle(self, *, file: Path, into_empty: bool, **options: object) -> None:
        try:
            manifest = backup.read_manifest(file)
            self._describe(manifest)
            if into_empty:
                backup.restore(file, manifest)
                self.stdout.write(f"images restored: {backup.restore_images(file)}")
        except (backup.BackupFailed, postgres_tools.NoProgram, OSError) as error:
            raise CommandError(str(error)) from error
        if into_empty:
            self._prove(manifest)

    def _describe(self, manifest: backup.Manifest) -> None:
        self.stdout.write(f"made at: {manifest['made_at']} from PostgreSQL {manifest['server_major']}")
        self.stdout.write(f"tables: {len(manifest['rows'])} rows: {sum(manifest['rows'].values())}")
        self.stdout.write(f"images: {manifest['images'] or 'none, they are in: ' + manifest['pictures_in']}")
        present = backup.tables_present()
        self.stdout.write(f"database of these settings: {f'{present} tables' if present else 'empty'}")

    def _prove(self, manifest: backup.Manifest) -> None:
        wrong = backup.differences(manifest)
        for line in wrong:
            self.stdout.write(line)
        self.stdout.write(f"rows and ledger: {f'{len(wrong)} differences' if wrong else 'as they were'}")
        if wrong:
            sys.exit(1)
