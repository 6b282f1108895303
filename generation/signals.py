"""What pictures must hear of accounts and credits, which do not know them; and who rings when a job moved on."""

from uuid import UUID

from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.dispatch import receiver

from accounts.models import User
from credits.signals import plan_changed
from generation import bell, counts, events, slots, transitions
from generation.models import TeamSlot
from tenkaigen import alarms


@receiver(user_logged_out)
def end_tickets(sender: object, user: User | None, **kwargs: object) -> None:
    """Whoever signs out stops watching: the cards of their open pages get no more progress."""
    if user is not None:
        events.end_tickets(user.pk)


@receiver(alarms.rang)
def count_alarm(sender: object, name: str, **kwargs: object) -> None:
    """Alarms ring in any process; /metrics finds them in the database."""
    counts.add(counts.ALARM + name)


@receiver(transitions.moved_on)
def ring_for_the_next(sender: object, team_id: UUID, kind: str, **kwargs: object) -> None:
    """A job that ended made room for its team's next one, and whoever found none to start sleeps until the bell."""
    if slots.has_opening(team_id, kind):
        bell.ring_now(kind)


@receiver(plan_changed)
def refresh_slots(sender: object, team_id: UUID | None, **kwargs: object) -> None:
    """What a team's plan allows now counts for the jobs it has waiting, and new limits for every team in line.

    For the others at their next job.
    """
    # After the commit: wallets are locked before slots.
    transaction.on_commit(lambda: slots.refresh(team_id) if team_id else _refresh_slots_in_line(), robust=True)


def _refresh_slots_in_line() -> None:
    waiting = TeamSlot.objects.filter(due_at__isnull=False).order_by("team_id").values_list("team_id", flat=True)
    for team_id in waiting.distinct():
        slots.refresh(team_id)
