"""Who hears of Stripe's events, and of teams that go. Loaded in `apps.ready`.

The transaction of dj-stripe's receivers also talks to Stripe, so ours only takes notes.
"""

from typing import Any
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import transaction
from djstripe import signals
from djstripe.event_handlers import djstripe_receiver

from accounts.models import Team
from accounts.signals import team_closed, team_described, team_purged, team_reopened
from credits.billing import inbox, mirror, tasks
from credits.models import StripeCustomer
from tenkaigen import alarms

logger = structlog.get_logger(__name__)


@djstripe_receiver(list(inbox.EVENTS))
def remember(sender: object, event: Any, **kwargs: object) -> None:
    """Leave a line in the inbox and ring, when this transaction is committed."""
    if event.livemode != settings.STRIPE_LIVE_MODE:
        logger.error("stripe_event_of_wrong_mode", event=event.id)
        return
    if inbox.note(event_id=event.id, type=event.type, object_id=event.data["object"]["id"]):
        transaction.on_commit(tasks.ring, robust=True)


def tell_stripe(sender: object, team: Team, **kwargs: object) -> None:
    """A team is called otherwise, was deleted, or restored: leave a line about it, in the same transaction."""
    if StripeCustomer.objects.filter(team=team, gone_at=None).exists():
        inbox.note(event_id=f"team:{uuid4()}", type=inbox.TEAM_CHANGED, object_id=str(team.pk))
        transaction.on_commit(tasks.ring, robust=True)


def forget(sender: object, team: Team, **kwargs: object) -> None:
    """A team is deleted for good: its copy of Stripe's goes, with names and addresses. The payments stay, as books."""
    mirror.forget(team)


def alarm(sender: object, exception: Exception, **kwargs: object) -> None:
    """dj-stripe could not take an event in. Stripe sends it again, but somebody should look."""
    alarms.ring("stripe_webhook_failed", reason=f"{type(exception).__name__}: {exception}"[:200])


team_closed.connect(tell_stripe, dispatch_uid="credits.billing.closed")
team_described.connect(tell_stripe, dispatch_uid="credits.billing.described")
team_purged.connect(forget, dispatch_uid="credits.billing.purged")
team_reopened.connect(tell_stripe, dispatch_uid="credits.billing.reopened")
signals.webhook_processing_error.connect(alarm, dispatch_uid="credits.billing.alarm")
