"""The plans' monthly credits, from the shell."""

import sys

from django.core.management.base import BaseCommand

from credits import plans


class Command(BaseCommand):
    help = "Grant every team the month its plan is in. Running it again grants nothing twice."

    def handle(self, **options: object) -> None:
        granted, later = plans.replenish_all()
        self.stdout.write(f"granted: {granted}")
        self.stdout.write(f"busy, to be granted by the next run: {later}")
        if later:
            sys.exit(1)
