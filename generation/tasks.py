"""Celery entry points. A message only rings the bell; the rows in PostgreSQL say what there is to do.

The worker is imported inside: the web enqueues these tasks and must never import the engine's libraries.
"""

from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings
from django.db import transaction

from tenkaigen.failpoints import failpoint

logger = structlog.get_logger(__name__)


def ring(kind: str = "image") -> None:
    """Wake a worker of this kind when the transaction commits. A dead broker costs seconds, not the request."""
    transaction.on_commit(lambda: ring_now(kind), robust=True)


def ring_now(kind: str = "image") -> None:
    # retry=False: a person waits for this answer, and the workers look by themselves anyway.
    failpoint("submit.after_commit")
    drain.apply_async(queue=settings.JOB_QUEUES[kind], retry=False, ignore_result=True)
    failpoint("submit.after_ring")


@shared_task(name="generation.drain")
def drain() -> None:
    """Make what is queued, on this process's device. Delivering the message twice does the work once."""
    from generation import runtime

    runtime.drain()


def expand_later(job_id: UUID) -> None:
    """Ask Gemini for a job's words when the transaction commits. A lost message means our own expansion."""
    transaction.on_commit(lambda: expand.apply_async([str(job_id)], retry=False, ignore_result=True), robust=True)


@shared_task(name="generation.expand")
def expand(job_id: str) -> None:
    """Let Gemini write the words of a waiting job. Delivering the message twice asks once."""
    from generation import services

    services.improve_job(UUID(job_id))


@shared_task(name="generation.sweep")
def sweep() -> None:
    """Every few seconds: rescue jobs whose worker vanished or whose message was lost."""
    from generation import sweeper

    for kind in sweeper.sweep().kinds_waiting:
        ring_now(kind)


@shared_task(name="generation.write_counts")
def write_counts() -> None:
    """Every minute: move the counts that wait in Redis into the database."""
    from generation import counts

    counts.write_down()


@shared_task(name="generation.cleanup_images")
def cleanup_images() -> None:
    """Every hour: delete pictures whose time has run out."""
    from generation import cleanup

    cleanup.delete_expired()


@shared_task(name="generation.cleanup_models")
def cleanup_models() -> None:
    """Every hour: forget drafts nobody went on with, and checkpoints nobody will."""
    from generation import retention

    retention.forget_checkpoints()
    retention.forget_drafts()
