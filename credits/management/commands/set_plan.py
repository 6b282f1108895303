"""A team's plan, from the shell."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from credits import plans
from credits.management.arguments import add_team, balance_line, team_called
from credits.models import Plan
from tenkaigen.errors import DomainError


class Command(BaseCommand):
    help = "Put a team on a plan from now on, and grant its first month. The plan it is on already changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        add_team(parser)
        parser.add_argument("plan", help="e.g. basic; the default plan ends the subscription")

    def handle(self, *, team: str, plan: str, **options: object) -> None:
        found = team_called(team)
        wanted = Plan.objects.filter(slug=plan).first()
        if wanted is None:
            names = ", ".join(Plan.objects.values_list("slug", flat=True))
            raise CommandError(f"no plan {plan}; there are: {names}")
        try:
            plans.subscribe(team=found, plan=wanted, actor="command:set_plan")
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{found.name}: {plans.plan_of(found.pk).name} plan")
        self.stdout.write(balance_line(found))
