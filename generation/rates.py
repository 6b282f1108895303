"""How fast a team may ask: requests an hour and seconds between two, as its plan says."""

from datetime import timedelta
from math import ceil

from django.conf import settings
from django.db.models.functions import Now

from accounts.models import Team
from credits.plans import Limits
from generation.errors import TooFast
from generation.models import Job

HOUR = timedelta(hours=1)


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


def _words(seconds: int) -> str:
    if seconds > 90:
        return f"{ceil(seconds / 60)} minutes"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
