"""The write-off of ended credits, from the shell."""

from django.core.management.base import BaseCommand

from credits import services


class Command(BaseCommand):
    help = "Write off what is left of grants that have ended; nobody could spend it any more. Again it does nothing."

    def handle(self, **options: object) -> None:
        teams = done = services.expire_all()
        while done == services.EXPIRY_TEAMS_MAX:
            done = services.expire_all()
            teams += done
        self.stdout.write(f"teams with ended credits: {teams}")
