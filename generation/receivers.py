"""What pictures do when people and teams go. `accounts` does not know them, so they listen."""

import structlog
from django.db import transaction
from django.dispatch import receiver

from accounts.models import Team, User
from accounts.signals import member_left, team_closed, team_purged
from generation import events, retention, services
from generation.models import Image, Job
from tenkaigen.errors import DomainError

ERASE_BATCH = 500
logger = structlog.get_logger(__name__)


@receiver(member_left)
def end_tickets(sender: object, user: User, **kwargs: object) -> None:
    """Whoever is taken out of a team stops watching, also on pages that are open."""
    transaction.on_commit(lambda: events.end_tickets(user.pk), robust=True)


@receiver(team_closed)
def cancel_jobs_later(sender: object, team: Team, **kwargs: object) -> None:
    transaction.on_commit(lambda: cancel_open_jobs(team), robust=True)


def cancel_open_jobs(team: Team) -> None:
    """Cancel what a team still has in work: a deleted team makes no more pictures, and pays for none."""
    for job in Job.objects.filter(team=team, status__in=(Job.Status.QUEUED, Job.Status.PROCESSING)):
        try:
            services.cancel_job(job)
        except DomainError as error:  # it has just ended by itself
            logger.info("job_not_canceled", job=str(job.pk), reason=error.code)


@receiver(team_purged)
def erase_what_it_made(sender: object, team: Team, **kwargs: object) -> None:
    """Delete a team's pictures and models with their files, and the words of its jobs; the jobs stay, as receipts."""
    cancel_open_jobs(team)
    while batch := list(Image.objects.filter(team=team).order_by("id")[:ERASE_BATCH]):
        for image in batch:
            services.delete_image(image)
    retention.erase(team)
    words = {"prompt": "", "expanded_prompt": "", "negative_prompt": "", "metadata": {}}
    Job.objects.filter(team=team).update(**words)
