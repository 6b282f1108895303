"""The comparison with Stripe, from the shell."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from credits.billing import reconcile
from tenkaigen.errors import DomainError


class Command(BaseCommand):
    help = "Compare Stripe's paid invoices, checkouts and refunds with our grants; print differences and exit 1."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--days", type=int, default=reconcile.DAYS, help="how far back to look")
        parser.add_argument("--apply", action="store_true", help="put right what differs")

    def handle(self, *, days: int, apply: bool, **options: object) -> None:
        if not 1 <= days <= reconcile.DAYS_MAX:
            raise CommandError(f"--days must be from 1 to {reconcile.DAYS_MAX}")
        count = 0
        try:
            for line in reconcile.differences(repair=apply, days=days):
                self.stdout.write(line)
                count += 1
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"differences: {count}")
        if count:
            sys.exit(1)
