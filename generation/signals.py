"""What pictures must hear of accounts, which do not know them."""

from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver

from accounts.models import User
from generation import counts, events
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
