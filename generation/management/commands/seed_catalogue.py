"""Styles, products and models from the readable files in `generation/catalogue/`."""

from django.core.management.base import BaseCommand

from generation.seed import seed


class Command(BaseCommand):
    help = "Add the styles, products and models that are missing. Rows that staff have edited stay as they are."

    def handle(self, **options: object) -> None:
        for name, added in seed().items():
            self.stdout.write(f"{name}: {added} added")
