"""Celery entry points, each a line that calls who does the work; `bell` sends the messages."""

from uuid import UUID

from celery import shared_task

from generation import bell, cleanup, counts, retention, services, sweeper


@shared_task(name=bell.DRAIN)
def drain() -> None:
    """Make what is queued, on this process's device. Delivering the message twice does the work once."""
    from generation import runtime  # only the process of a device has one

    runtime.drain()


@shared_task(name=bell.EXPAND)
def expand(job_id: str) -> None:
    """Let Gemini write the words of a waiting job. Delivering the message twice asks once."""
    services.improve_job(UUID(job_id))


@shared_task(name="generation.sweep")
def sweep() -> None:
    """Every few seconds: rescue jobs whose worker vanished or whose message was lost."""
    for kind in sweeper.sweep().kinds_waiting:
        bell.ring_now(kind)


@shared_task(name="generation.write_counts")
def write_counts() -> None:
    """Every minute: move the counts that wait in Redis into the database."""
    counts.write_down()


@shared_task(name="generation.cleanup_images")
def cleanup_images() -> None:
    """Every hour: delete pictures whose time has run out."""
    cleanup.delete_expired()


@shared_task(name="generation.cleanup_models")
def cleanup_models() -> None:
    """Every hour: forget drafts nobody went on with, and checkpoints nobody will."""
    retention.forget_checkpoints()
    retention.forget_drafts()
