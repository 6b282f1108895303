"""dj-stripe's receivers. Their transaction also talks to Stripe, so they only take notes. Connected in `apps.ready`."""

from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from djstripe import signals
from djstripe.event_handlers import djstripe_receiver

from credits.billing import inbox, tasks
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


def alarm(sender: object, exception: Exception, **kwargs: object) -> None:
    """dj-stripe could not take an event in. Stripe sends it again, but somebody should look."""
    alarms.ring("stripe_webhook_failed", reason=f"{type(exception).__name__}: {exception}"[:200])


signals.webhook_processing_error.connect(alarm, dispatch_uid="credits.billing.alarm")
