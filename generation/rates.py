"""How much a team may ask: open jobs, requests an hour and seconds between two, as its plan says; uploads a day."""

import time
from datetime import timedelta
from math import ceil
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db.models.functions import Now

from accounts.models import Team
from credits.plans import Limits
from generation.errors import QueueFull, TooFast, TooManyJobs
from generation.models import Job
from generation.training_limits import UPLOADS_A_DAY_MAX

HOUR = timedelta(hours=1)
DAY_SECONDS = 86_400
OPEN = (Job.Status.QUEUED, Job.Status.PROCESSING)
QUEUE_LENGTH_KEY = "queue-length"
QUEUE_LENGTH_SECONDS = 5  # so old may the count be
QUEUE_SLACK = 1000  # jobs: nearer than that to a full queue it is counted each time


def refuse_haste(team: Team, limits: Limits) -> None:
    """Refuse the team's newest job when it came too soon. Call it in the transaction that made the job, under the
    wallet's lock: then no two jobs of a team are counted at once.

    Raises:
        TooFast: with the seconds after which the same request would pass.
    """
    if not settings.RATE_LIMITS:
        return
    jobs = Job.objects.filter(team=team, created_at__gt=Now() - HOUR).order_by("-created_at", "-id")
    times = jobs.values_list("created_at", flat=True)
    this, *before = times[:2]
    pause = timedelta(seconds=limits.seconds_between)
    if before and this - before[0] < pause:
        wait = ceil((pause - (this - before[0])).total_seconds())
        raise TooFast(f"Wait {_words(wait)}, then send it again.", wait)
    full = list(times[limits.requests_per_hour : limits.requests_per_hour + 1])
    if full:
        wait = ceil((HOUR - (this - full[0])).total_seconds())
        allowed = f"{limits.requests_per_hour:,} requests an hour"
        raise TooFast(f"The {limits.name} plan allows {allowed}. Try again in {_words(wait)}.", wait)


def refuse_crowds(team: Team, limits: Limits) -> None:
    """Refuse the team's newest job when there are too many. Call it in the transaction that made the job, under the
    wallet's lock: then no two jobs of a team are counted at once.

    Raises:
        TooManyJobs: the team has as many unfinished jobs as its plan allows.
        QueueFull: everybody together has `QUEUE_LENGTH_MAX` queued jobs.
    """
    if Job.objects.filter(team=team, status__in=OPEN).count() > limits.queue_cap:
        raise TooManyJobs(f"Your plan queues up to {limits.queue_cap} jobs. Wait for one of yours to finish.")
    if queue_length() > settings.QUEUE_LENGTH_MAX:
        raise QueueFull("The queue is full. Try again in a minute.")


def count_uploads(team_id: UUID, more: int) -> None:
    """Count more files that are fetched or read for a team, so that none keeps everybody's readers busy. Without Redis
    none is counted. With 0 it is only asked.

    Raises:
        TooFast: there were too many on this day, which ends at midnight UTC.
    """
    if not settings.RATE_LIMITS:
        return
    now = int(time.time())
    key = f"uploads:{team_id}:{now // DAY_SECONDS}"
    cache.add(key, 0, DAY_SECONDS)
    try:
        count = cache.incr(key, more)
    except ValueError:  # the cache has just been emptied
        return
    if count > UPLOADS_A_DAY_MAX:
        words = f"Your team has sent {UPLOADS_A_DAY_MAX:,} pictures today. Go on after midnight UTC."
        raise TooFast(words, DAY_SECONDS - now % DAY_SECONDS)


def queue_length() -> int:
    """How many jobs wait, to within what a few seconds bring: counting a long queue takes longer than a submit may."""
    known: int | None = cache.get(QUEUE_LENGTH_KEY)
    if known is not None and known + QUEUE_SLACK < settings.QUEUE_LENGTH_MAX:
        return known
    length = Job.objects.filter(status=Job.Status.QUEUED).count()
    cache.set(QUEUE_LENGTH_KEY, length, QUEUE_LENGTH_SECONDS)
    return length


def _words(seconds: int) -> str:
    if seconds > 90:
        return f"{ceil(seconds / 60)} minutes"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
