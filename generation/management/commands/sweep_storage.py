"""Files without rows, and uploads without an end."""

from botocore.exceptions import BotoCoreError, ClientError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import cleanup, storage


class Command(BaseCommand):
    help = "List files that no row names; with --apply, delete them. Young ones may belong to a running job and stay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="delete, not only list")

    def handle(self, *, apply: bool, **options: object) -> None:
        try:
            self._sweep(apply)
        except (BotoCoreError, ClientError, ValueError) as error:  # the last: an endpoint that is none
            raise CommandError(str(error)) from error

    def _sweep(self, apply: bool) -> None:
        for upload in cleanup.dangling_uploads():
            self.stdout.write(f"{upload.key} upload unfinished since {upload.begun_at:%Y-%m-%d}")
            if apply:
                storage.abort(upload)
        count = 0
        for key in cleanup.orphans():
            count += 1
            self.stdout.write(key)
            if apply:
                storage.delete([key])
        self.stdout.write(f"{'deleted' if apply else 'without a row'}: {count}")
