"""A key for a program, from the shell."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import services
from accounts.models import User
from accounts.queries import team_of
from tenkaigen.errors import DomainError

NAME_CHARS_MAX = 80


class Command(BaseCommand):
    help = "Make an API key for a person's team and print it. It is shown only this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="command line")

    def handle(self, *, email: str, name: str, **options: object) -> None:
        user = User.objects.filter(email=email.lower()).first()
        team = team_of(user) if user else None
        if user is None or team is None:
            raise CommandError(f"no user {email} with a team")
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise CommandError(f"--name must have 1 to {NAME_CHARS_MAX} characters")
        try:
            _, text = services.create_api_key(team=team, user=user, name=name)
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(text)
