"""A correction of a team's credits, from the shell."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from credits import services
from credits.management.arguments import add_reference, add_team, amount_called, balance_line, check_texts, team_called
from tenkaigen.errors import DomainError


class Command(BaseCommand):
    help = "Add credits to a team or take some away. Running it again with the same --reference changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        add_team(parser)
        parser.add_argument("amount", help="credits, for example 25 or -12.50")
        add_reference(parser)
        parser.add_argument("--reason", required=True, help="why, for the team's statement")

    def handle(self, *, team: str, amount: str, reference: str, reason: str, **options: object) -> None:
        amount_centi = amount_called(amount)
        check_texts(reference=reference, reason=reason)
        found = team_called(team)
        try:
            services.adjust(
                team=found,
                amount_centi=amount_centi,
                reference=reference,
                actor="command:adjust_credits",
                reason=reason,
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(balance_line(found))
