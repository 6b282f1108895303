"""Expired pictures, by hand."""

from django.core.management.base import BaseCommand, CommandParser

from generation import cleanup


class Command(BaseCommand):
    help = "List pictures whose time has run out; with --apply, delete them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="delete, not only list")

    def handle(self, *, apply: bool, **options: object) -> None:
        if apply:
            self.stdout.write(f"deleted: {cleanup.delete_expired()}")
            return
        images = cleanup.expired()
        for image in images:
            self.stdout.write(f"{image.key} expired {image.expires_at:%Y-%m-%d}")
        self.stdout.write(f"expired: {len(images)}{' or more' if len(images) == cleanup.BATCH_MAX else ''}")
