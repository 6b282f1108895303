"""Puts right what was left lying: jobs of lost workers, lost bells, holds of no living job. Any number may run."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from credits import ledger
from credits.models import Hold
from generation import events, queries, transitions
from generation.models import Job
from tenkaigen import alarms

logger = structlog.get_logger(__name__)
BATCH_MAX = 200  # rows a sweep; the next one is seconds away
HOLD_GRACE = timedelta(minutes=5)
POSITIONS_MAX = 500  # waiting jobs that are told their place


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    recovered: int
    holds_released: int
    is_work_left: bool


def sweep() -> Swept:
    recovered = recover_lost_jobs()
    released = release_orphaned_holds()
    tell_positions()
    return Swept(recovered, released, is_work_left=bool(recovered) or _someone_waits())


def recover_lost_jobs() -> int:
    """Take back every job whose lease has run out."""
    lost = Job.objects.filter(status=Job.Status.PROCESSING, lease_until__lt=Now()).order_by("lease_until")
    recovered = [job for job in lost[:BATCH_MAX] if transitions.recover(job)]
    events.forget(job.id for job in recovered)
    for job in recovered:
        logger.warning("lease_lost", job_id=str(job.id), worker=job.worker, attempt=job.attempts)
    return len(recovered)


def release_orphaned_holds() -> int:
    """Give back what is set aside for jobs that are over or never were. That must not happen, so each one alarms."""
    old = Hold.objects.filter(state=Hold.State.PENDING, created_at__lt=Now() - HOLD_GRACE)
    released = 0
    for hold in old.select_related("wallet").order_by("created_at")[:BATCH_MAX]:
        if not _has_living_job(hold):
            released += _release(hold)
    return released


def tell_positions() -> None:
    """Keep the places of those who wait in Redis, so that their cards need no SQL."""
    workers = events.workers()
    if workers is None:
        return
    waiting = Job.objects.filter(status=Job.Status.QUEUED).order_by("-priority", "created_at")
    images_ahead, progresses = 0, {}
    for position, job in enumerate(waiting[:POSITIONS_MAX], start=1):
        wait = queries.explain_wait(job, position=position, images_ahead=images_ahead, workers=workers)
        progresses[job.id] = progress_of_wait(job, wait)
        images_ahead += job.count
    events.publish_waits(progresses)


def progress_of_wait(job: Job, wait: queries.Wait) -> events.Progress:
    return events.Progress(
        status=Job.Status.QUEUED,
        position=wait.position,
        seconds_left=wait.seconds_left,
        reason=wait.reason,
        fence=job.fence,
    )


def _someone_waits() -> bool:
    again = timedelta(seconds=settings.RING_AGAIN_SECONDS)
    return Job.objects.filter(status=Job.Status.QUEUED, run_after__lte=Now(), created_at__lt=Now() - again).exists()


def _has_living_job(hold: Hold) -> bool:
    return Job.objects.filter(id=UUID(hold.reference), status__in=transitions.OPEN).exists()


@transaction.atomic
def _release(hold: Hold) -> bool:
    receipt = ledger.settle(team_id=hold.wallet.team_id, reference=hold.reference, delivered=0)
    if receipt.is_new:
        alarms.ring("hold_without_job", hold=hold.reference, amount_centi=hold.amount_centi)
    return receipt.is_new
