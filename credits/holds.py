"""Holds past their deadline: those of living jobs go on, the others alarm and are given back."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from credits import ledger
from credits.models import Hold
from tenkaigen import alarms
from tenkaigen.errors import Busy

logger = structlog.get_logger(__name__)
BATCH_MAX = 200  # holds a sweep; the next one is seconds away


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep of holds did."""

    extended: int
    released: int


def sweep(living: Callable[[Collection[str]], set[str]]) -> Swept:
    """Look at every hold past its deadline. `living` says which references belong to a job that still runs or waits.

    A hold without one must not be: each alarms, and is given back by entries of its own.
    """
    due = list(
        Hold.objects.filter(state=Hold.State.PENDING, expires_at__lte=Now())
        .select_related("wallet")
        .order_by("expires_at")[:BATCH_MAX]
    )
    alive = living([hold.reference for hold in due])
    extended = sum(_extend(hold) for hold in due if hold.reference in alive)
    return Swept(extended, sum(_release(hold) for hold in due if hold.reference not in alive))


def _extend(hold: Hold) -> int:
    more = timedelta(seconds=settings.HOLD_SECONDS[hold.quote.get("kind", "image")])
    return Hold.objects.filter(pk=hold.pk, state=Hold.State.PENDING).update(expires_at=Now() + more)


def _release(hold: Hold) -> int:
    try:
        with transaction.atomic():
            if not ledger.lapse(team_id=hold.wallet.team_id, reference=hold.reference):
                return 0  # its job ended it just now
    except Busy:
        logger.info("hold_later", hold=hold.reference)
        return 0
    except DatabaseError:
        # Rows that the database will not let go as they are: the audit names them, and the sweep has more to do.
        logger.exception("hold_cannot_be_released", hold=hold.reference)
        return 0
    alarms.ring("hold_without_job", hold=hold.reference, amount_centi=hold.amount_centi)
    return 1
