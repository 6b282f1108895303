"""Is the store there, whole and private?"""

import sys

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import store_check


class Command(BaseCommand):
    help = "Write, read, compare, try to read without a signature, delete: one fact a line. Exits 1 when one is bad."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--make-bucket", action="store_true", help="make the bucket first, if it is not there")

    def handle(self, *, make_bucket: bool, **options: object) -> None:
        if make_bucket and hasattr(default_storage, "make_bucket"):
            try:
                self.stdout.write(f"bucket: {'made' if default_storage.make_bucket() else 'was there'}")
            except (BotoCoreError, ClientError, ValueError) as error:  # the last: an endpoint that is none
                raise CommandError(str(error)) from error
        bad = 0
        for fact in store_check.facts():
            bad += fact.is_good is False
            verdict = {True: "ok", False: "BAD", None: "--"}[fact.is_good]
            self.stdout.write(f"{verdict} {fact.name}: {fact.words}")
        if bad:
            sys.exit(1)
