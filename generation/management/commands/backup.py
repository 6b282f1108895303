"""The database, and the pictures of this machine, in one file."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import backup, postgres_tools


class Command(BaseCommand):
    help = "Write the database to one file, with --images also the pictures of this machine. Nothing has to stop."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--out", required=True, type=Path, help="a new file; .tar is a good ending")
        parser.add_argument("--images", action="store_true", help="include the pictures (only without a bucket)")

    def handle(self, *, out: Path, images: bool, **options: object) -> None:
        try:
            manifest = backup.write(out, with_images=images)
        except (backup.BackupFailed, postgres_tools.NoProgram, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"file: {out} {out.stat().st_size} bytes")
        self.stdout.write(f"tables: {len(manifest['rows'])} rows: {sum(manifest['rows'].values())}")
        self.stdout.write(f"sha256 of the dump: {manifest['sha256']}")
        left_out = f"not included, they are in: {manifest['pictures_in']}"
        self.stdout.write(f"images: {manifest['images'] if images else left_out}")
