"""The proof, from the shell."""

import sys

from django.core.management.base import BaseCommand

from credits import services
from credits.models import Entry


class Command(BaseCommand):
    help = "Replay every entry of the ledger; print what does not agree and exit 1."

    def handle(self, **options: object) -> None:
        drift = services.audit()
        for line in drift:
            self.stdout.write(line)
        self.stdout.write(f"entries: {Entry.objects.count()} drift: {len(drift)}")
        if drift:
            sys.exit(1)
