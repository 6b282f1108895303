"""Wakes the processes that work. A message only says that there is something; the rows in PostgreSQL say what.

Tasks are called by their names, so that who rings never imports who answers.
"""

from uuid import UUID

from django.conf import settings
from django.db import transaction

from tenkaigen.celery import app
from tenkaigen.failpoints import failpoint

DRAIN = "generation.drain"
EXPAND = "generation.expand"


def ring(kind: str = "image") -> None:
    """Wake a worker of this kind when the transaction commits. A dead broker costs seconds, not the request."""
    transaction.on_commit(lambda: ring_now(kind), robust=True)


def ring_now(kind: str = "image") -> None:
    failpoint("submit.after_commit")
    _send(DRAIN, queue=settings.JOB_QUEUES[kind])
    failpoint("submit.after_ring")


def expand_later(job_id: UUID) -> None:
    """Ask Gemini for a job's words when the transaction commits. A lost message means our own expansion."""
    transaction.on_commit(lambda: _send(EXPAND, [str(job_id)]), robust=True)


def _send(name: str, arguments: list[str] | None = None, **options: str) -> None:
    # retry=False: a person waits for this answer, and the workers look by themselves anyway.
    app.send_task(name, arguments, retry=False, ignore_result=True, **options)
