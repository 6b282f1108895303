"""The sweep, by hand."""

from django.core.management.base import BaseCommand

from generation import bell, sweeper


class Command(BaseCommand):
    help = "Requeue jobs of lost workers and release holds of no living job, as the schedule does every few seconds."

    def handle(self, **options: object) -> None:
        swept = sweeper.sweep()
        for kind in swept.kinds_waiting:
            bell.ring_now(kind)
        self.stdout.write(f"recovered: {swept.recovered} holds released: {swept.holds_released}")
