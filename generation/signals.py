"""What pictures must hear of accounts and credits, which do not know them; and who rings when a job moved on."""

from uuid import UUID

from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts.models import User
from credits.models import Plan, Subscription
from generation import counts, events, slots, tasks, transitions
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
        tasks.ring_now(kind)


@receiver(post_save, sender=Subscription)
def refresh_slots_of_team(sender: object, instance: Subscription, **kwargs: object) -> None:
    """What a team's new plan allows counts for the jobs it has waiting."""
    transaction.on_commit(lambda: slots.refresh(instance.team_id), robust=True)  # wallets are locked before slots


@receiver(post_save, sender=Plan)
def refresh_slots_of_plan(sender: object, instance: Plan, **kwargs: object) -> None:
    """What staff change of a plan counts for every team that has jobs waiting; for the others at their next job."""
    transaction.on_commit(_refresh_slots_in_line, robust=True)


def _refresh_slots_in_line() -> None:
    waiting = TeamSlot.objects.filter(due_at__isnull=False).order_by("team_id").values_list("team_id", flat=True)
    for team_id in waiting.distinct():
        slots.refresh(team_id)
