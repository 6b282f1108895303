"""What Stripe must be told once, from the shell."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from credits.billing import setup
from tenkaigen.errors import DomainError


class Command(BaseCommand):
    help = "Make plans' prices, the portal's rules and the webhook at Stripe. Lists only, unless --apply is given."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--apply", action="store_true", help="make what is missing")

    def handle(self, *, apply: bool, **options: object) -> None:
        if not settings.SITE_URL:
            raise CommandError("SITE_URL must say where Stripe finds this server, such as https://pictures.example.com")
        try:
            for line in setup.run(site_url=settings.SITE_URL, apply=apply):
                self.stdout.write(line)
        except DomainError as error:
            raise CommandError(str(error)) from error
