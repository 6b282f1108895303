"""Credits by hand, from the shell."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from credits import services
from credits.management.arguments import add_reference, add_team, amount_called, balance_line, check_texts, team_called
from tenkaigen.errors import DomainError


class Command(BaseCommand):
    help = "Give credits to a team. Running it again with the same --reference changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        add_team(parser)
        parser.add_argument("amount", help="credits, for example 25 or 12.50")
        add_reference(parser)
        parser.add_argument("--reason", default="Given by an operator")

    def handle(self, *, team: str, amount: str, reference: str, reason: str, **options: object) -> None:
        amount_centi = amount_called(amount)
        if amount_centi <= 0:
            raise CommandError("amount must be more than 0; adjust_credits takes credits away")
        check_texts(reference=reference, reason=reason)
        found = team_called(team)
        try:
            services.adjust(
                team=found,
                amount_centi=amount_centi,
                reference=reference,
                actor="command:grant_credits",
                reason=reason,
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(balance_line(found))
