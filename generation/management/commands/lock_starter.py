from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.engine import ModelUnavailable, lockfile
from generation.engine.loading import Shelf

NAME = "starter"


class Command(BaseCommand):
    help = "Write what lies in the starter's folder into models.lock: run it when its weights have changed."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the lock is out of date")

    def handle(self, *, check: bool, **options: Any) -> None:
        shelf = Shelf.at()
        try:
            models = lockfile.read(shelf.lock_file)
            found = lockfile.describe(shelf.folder(NAME))
        except ModelUnavailable as error:
            raise CommandError(str(error)) from error
        if models.get(NAME) == found:
            self.stdout.write(f"unchanged {found.revision}")
        elif check:
            raise CommandError(f"models.lock is out of date: run manage.py lock_{NAME}")
        else:
            lockfile.write(shelf.lock_file, models | {NAME: found})
            self.stdout.write(f"locked {found.revision}, {len(found.files)} files")
