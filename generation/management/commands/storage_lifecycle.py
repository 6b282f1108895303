"""The bucket's own expiry."""

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import lifecycle
from generation.s3 import PrivateBucket


class Command(BaseCommand):
    help = "Show the bucket's expiry rule, wanted and present; with --apply, put it there and keep everybody else's."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write, not only show")

    def handle(self, *, apply: bool, **options: object) -> None:
        store, days = default_storage, settings.IMAGE_LIFETIME_DAYS
        if not hasattr(store, "lifecycle_rules"):
            self.stdout.write(f"Files on this machine need no rule: cleanup_images deletes them after {days} days.")
            return
        try:
            self._show(store, apply)  # type: ignore[arg-type]
        except (BotoCoreError, ClientError) as error:
            raise CommandError(str(error)) from error

    def _show(self, store: PrivateBucket, apply: bool) -> None:
        prefix = settings.STORAGE_PREFIX
        rule = lifecycle.wanted(prefix, settings.IMAGE_LIFETIME_DAYS, is_versioned=store.is_versioned())
        rules = store.lifecycle_rules()
        self.stdout.write(f"wanted: {lifecycle.describe(rule)}")
        for found in rules:
            kind = "present" if lifecycle.is_ours(found, prefix) else "foreign"
            self.stdout.write(f"{kind}: {lifecycle.describe(found)}")
        if lifecycle.is_in_force(rules, rule, prefix):
            self.stdout.write("in force: yes")
            return
        if not apply:
            self.stdout.write("in force: no (--apply puts it there)")
            return
        store.replace_lifecycle_rules([*lifecycle.foreign(rules, prefix), rule])  # type: ignore[list-item]
        if not lifecycle.is_in_force(store.lifecycle_rules(), rule, prefix):
            raise CommandError("The store took the rule, but does not show it.")
        self.stdout.write("in force: yes, now")
