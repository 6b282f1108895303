"""Credits by hand, from the shell."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from accounts.queries import team_of
from credits import services
from credits.amounts import parse, show
from credits.queries import balance_of
from tenkaigen.errors import DomainError

TEXT_CHARS_MAX = 100


class Command(BaseCommand):
    help = "Give credits to a person's team. Running it again with the same --reference changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("amount", help="credits, for example 25 or 12.50")
        parser.add_argument("--reference", required=True, help="ticket or incident, e.g. support-4711")
        parser.add_argument("--reason", default="Given by an operator")

    def handle(self, *, email: str, amount: str, reference: str, reason: str, **options: object) -> None:
        try:
            amount_centi = parse(amount)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if amount_centi <= 0:
            raise CommandError("amount must be more than 0")
        for option, text in (("reference", reference), ("reason", reason)):
            if not 0 < len(text) <= TEXT_CHARS_MAX:
                raise CommandError(f"--{option} must have 1 to {TEXT_CHARS_MAX} characters")
        user = User.objects.filter(email=email.lower()).first()
        team = team_of(user) if user else None
        if team is None:
            raise CommandError(f"no user {email} with a team")
        try:
            services.adjust(
                team=team, amount_centi=amount_centi, reference=reference, actor="grant_credits", reason=reason
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{team.name}: {show(balance_of(team).available_centi)} credits available")
