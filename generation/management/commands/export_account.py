"""A person's export, from the shell."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from generation.account_export import zip_of


class Command(BaseCommand):
    help = "Write everything there is about a person to a zip, as their own page does."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("file", type=Path, help="must not be there yet")

    def handle(self, *, email: str, file: Path, **options: object) -> None:
        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            raise CommandError(f"no user {email}")
        try:
            with file.open("xb") as out:
                for piece in zip_of(user):
                    out.write(piece)
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from None
        self.stdout.write(f"{file} {file.stat().st_size} bytes")
