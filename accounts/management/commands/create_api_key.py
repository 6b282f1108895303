"""A key for a program, from the shell."""

from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import services
from accounts.models import Scope, User
from accounts.queries import team_of
from tenkaigen.errors import DomainError

NAME_CHARS_MAX = 80
DAYS_MAX = 3650


class Command(BaseCommand):
    help = "Make an API key for a person's team and print it. It is shown only this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--scope", action="append", choices=Scope.values, help="repeat it; default: read, generate")
        parser.add_argument("--days", type=int, help="it works so long; default: for ever")

    def handle(self, *, email: str, name: str, scope: list[str] | None, days: int | None, **options: object) -> None:
        user = User.objects.filter(email=email.lower()).first()
        team = team_of(user) if user else None
        if user is None or team is None:
            raise CommandError(f"no user {email} with a team")
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise CommandError(f"--name must have 1 to {NAME_CHARS_MAX} characters")
        if days is not None and not 0 < days <= DAYS_MAX:
            raise CommandError(f"--days must be 1 to {DAYS_MAX}")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        try:
            _, text = services.create_api_key(team=team, user=user, name=name, scopes=scope, expires_at=expires_at)
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(text)
