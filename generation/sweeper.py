"""Puts right what was left lying: jobs of lost workers, lost bells, holds of no living job. Any number may run."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import OperationalError
from django.db.models.functions import Now
from django.utils import timezone

from credits import holds
from generation import events, queries, slots, transitions, waits
from generation.failures import LOST_TOO_OFTEN
from generation.models import Job, TeamSlot
from tenkaigen import alarms
from tenkaigen.errors import Busy

logger = structlog.get_logger(__name__)
BATCH_MAX = 200  # rows a sweep; the next one is seconds away
UNRECOVERABLE_ALARM_SECONDS = 3600  # between two alarms about one job
POSITIONS_MAX = 500  # waiting jobs that are told their place


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    recovered: int
    holds_released: int
    kinds_waiting: tuple[str, ...]  # their bells may have been lost


def sweep() -> Swept:
    recovered = recover_lost_jobs()
    released = release_orphaned_holds()
    if strays := slots.repair():
        logger.warning("line_repaired", teams=strays)
    tell_positions()
    in_line = TeamSlot.objects.filter(due_at__isnull=False)
    return Swept(recovered, released, tuple(in_line.order_by("kind").values_list("kind", flat=True).distinct()))


def recover_lost_jobs() -> int:
    """Take back every job whose lease has run out."""
    lost = Job.objects.filter(status=Job.Status.PROCESSING, lease_until__lt=Now()).order_by("lease_until")
    recovered = [job for job in lost[:BATCH_MAX] if _recover(job)]
    events.forget(job.id for job in recovered)
    for job in recovered:
        logger.warning("lease_lost", job_id=str(job.id), worker=job.worker, attempt=job.attempts)
        if job.attempts >= settings.JOB_ATTEMPTS_MAX:
            alarms.ring("job_failed_for_good", job_id=str(job.id), code=LOST_TOO_OFTEN.code)
    return len(recovered)


def _recover(job: Job) -> bool:
    try:
        return transitions.recover(job)
    except (Busy, OperationalError) as error:
        # One locked row must not keep the others waiting; the next sweep finds it again.
        logger.info("recover_later", job_id=str(job.id), error=type(error).__name__)
    except Exception:
        # Neither must one whose rows are broken: it would stop every sweep at the same place.
        logger.exception("recover_failed", job_id=str(job.id))
        if cache.add(f"unrecoverable:{job.id}", True, UNRECOVERABLE_ALARM_SECONDS):
            alarms.ring("job_cannot_be_recovered", job_id=str(job.id))
    return False


def release_orphaned_holds() -> int:
    """Give back what is set aside past its deadline for jobs that are over or never were. Each one alarms."""
    return holds.sweep(_living).released


def tell_positions() -> None:
    """Keep the places of those who are next in Redis, so that their cards need no SQL."""
    if events.workers() is None:
        return
    line = waits.line(POSITIONS_MAX)
    service = waits.service_of([job for job, _ in line])
    events.publish_waits(
        {job.id: queries.progress_of_wait(job, waits.explain(job, place, service)) for job, place in line}
    )
    for (queue, model), waited in _unserved([job for job, _ in line], service).items():
        if cache.add(f"no-worker:{queue}:{model}", True, settings.NO_WORKER_ALARM_SECONDS):
            alarms.ring("no_worker_for_model", model=model, queue=queue, waited_seconds=round(waited.total_seconds()))


def _unserved(jobs: list[Job], service: waits.Service) -> dict[tuple[str, str], timedelta]:
    """The (queue, model) pairs that no living worker serves, and how long a job has waited: not those of a restart."""
    now, waited = timezone.now(), dict[tuple[str, str], timedelta]()
    for job in jobs:
        what = settings.JOB_QUEUES[job.kind], job.model
        if service.serving(job) == [] and now - job.created_at > timedelta(seconds=settings.NO_WORKER_SECONDS):
            waited[what] = max(now - job.created_at, waited.get(what, timedelta()))
    return waited


def _living(references: Collection[str]) -> set[str]:
    jobs = Job.objects.filter(id__in=references, status__in=transitions.OPEN)
    return {str(job_id) for job_id in jobs.values_list("id", flat=True)}
