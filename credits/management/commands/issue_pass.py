"""A pass for a team, from the shell."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from credits import passes
from credits.management.arguments import add_reference, add_team, check_texts, team_called
from tenkaigen.errors import DomainError


class Command(BaseCommand):
    help = "Give a team an hourly pass, to start when it likes. The same --reference again gives nothing more."

    def add_arguments(self, parser: CommandParser) -> None:
        add_team(parser)
        parser.add_argument("product", help="a pass that is sold, e.g. flash-lite")
        add_reference(parser)

    def handle(self, *, team: str, product: str, reference: str, **options: object) -> None:
        check_texts(reference=reference)
        found = team_called(team)
        try:
            made = passes.issue(
                team=found,
                product=passes.product_called(product),
                reference=f"staff:{reference}",
                actor="command:issue_pass",
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{found.name}: {made.name} pass {made.pk}, {made.images} images in {made.minutes} minutes")
