"""Delete a person, from the shell."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import services
from accounts.models import User
from accounts.services.leaving import own_teams
from tenkaigen.errors import DomainError


class Command(BaseCommand):
    help = "Show what deleting a person would end. --apply does it softly, as their own page; --now for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--apply", action="store_true", help="do it; they can restore it for some days")
        parser.add_argument("--now", action="store_true", help="with --apply: for good, without the days")

    def handle(self, *, email: str, **options: Any) -> None:
        user = User.objects.filter(email=email.lower(), erased_at=None).first()
        if user is None:
            raise CommandError(f"no user {email}")
        for team in own_teams(user):
            self.stdout.write(f"team {team.pk} {team.name}")
        self.stdout.write(f"person {user.pk} {user.email}")
        if not options["apply"]:
            self.stdout.write("nothing was deleted: repeat it with --apply")
            return
        try:
            services.close_account(user)
        except DomainError as error:
            raise CommandError(str(error)) from error
        if options["now"]:
            services.erase_person(user)
        self.stdout.write("deleted for good" if options["now"] else "deleted; they can restore it for some days")
