"""The bucket's own expiry."""

from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import lifecycle
from generation.s3 import PrivateBucket


class Command(BaseCommand):
    help = "Show the bucket's expiry rules, wanted and present; with --apply, put them there and keep everybody else's."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="write, not only show")

    def handle(self, *, apply: bool, **options: object) -> None:
        store, days = default_storage, settings.IMAGE_LIFETIME_DAYS
        if not hasattr(store, "lifecycle_rules"):
            self.stdout.write(f"Files on this machine need no rule: cleanup_images deletes them after {days} days.")
            return
        try:
            self._show(store, apply)  # type: ignore[arg-type]
        except (BotoCoreError, ClientError, ValueError) as error:  # the last: an endpoint that is none
            raise CommandError(str(error)) from error

    def _show(self, store: PrivateBucket, apply: bool) -> None:
        wanted = rules_wanted(is_versioned=store.is_versioned())
        rules = store.lifecycle_rules()
        for rule in wanted:
            self.stdout.write(f"wanted: {lifecycle.describe(rule)}")
        for found in rules:
            kind = "present" if lifecycle.is_ours(found, wanted) else "foreign"
            self.stdout.write(f"{kind}: {lifecycle.describe(found)}")
        if are_in_force(rules, wanted):
            self.stdout.write("in force: yes")
            return
        if not apply:
            self.stdout.write("in force: no (--apply puts it there)")
            return
        store.replace_lifecycle_rules([*lifecycle.foreign(rules, wanted), *wanted])  # type: ignore[list-item]
        if not are_in_force(store.lifecycle_rules(), wanted):
            raise CommandError("The store took the rules, but does not show them.")
        self.stdout.write("in force: yes, now")


def rules_wanted(*, is_versioned: bool) -> list[lifecycle.Rule]:
    return [
        lifecycle.of_images(settings.STORAGE_PREFIX, settings.IMAGE_LIFETIME_DAYS, is_versioned=is_versioned),
        lifecycle.of_models(settings.MODELS_PREFIX, is_versioned=is_versioned),
    ]


def are_in_force(rules: Sequence[lifecycle.Rule], wanted: Sequence[lifecycle.Rule]) -> bool:
    return all(lifecycle.is_in_force(rules, rule) for rule in wanted)
