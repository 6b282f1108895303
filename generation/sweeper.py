"""Puts right what was left lying: jobs of lost workers, lost bells, holds of no living job. Any number may run."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models.functions import Now

from credits import holds
from generation import events, queries, transitions
from generation.models import Job

logger = structlog.get_logger(__name__)
BATCH_MAX = 200  # rows a sweep; the next one is seconds away
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
    """Give back what is set aside past its deadline for jobs that are over or never were. Each one alarms."""
    return holds.sweep(_living).released


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


def _living(references: Collection[str]) -> set[str]:
    jobs = Job.objects.filter(id__in=references, status__in=transitions.OPEN)
    return {str(job_id) for job_id in jobs.values_list("id", flat=True)}
