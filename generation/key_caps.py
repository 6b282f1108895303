"""What the jobs of API keys cost in a calendar month (UTC), and that no key goes over its own cap.

A job counts in the month it was submitted in: with what it was charged once it has ended, with what is set aside for
it before. So what comes back may be spent again. What a pass pays is no credit and does not count.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from math import ceil
from typing import Any
from uuid import UUID

from django.db.models import Sum
from django.dispatch import receiver
from django.utils import timezone

from accounts.signals import key_spending_asked
from credits.amounts import plain, show
from credits.models import Hold
from generation.errors import KeyCapReached
from generation.models import Job
from tenkaigen.months import month_of

OPEN = (Job.Status.QUEUED, Job.Status.PROCESSING)


def refuse_overspending(job: Job, held_centi: int) -> None:
    """Refuse a new job that takes its key over its cap. `held_centi` is what was just set aside for it.

    Call it in the transaction that made the job, after the reserve: under the wallet's lock no two jobs of a team, and
    so of a key, are counted at once.

    Raises:
        KeyCapReached: with the seconds until the next month.
    """
    key = job.api_key
    if key is None or key.monthly_cap_centi is None:
        return
    job.refresh_from_db(fields=["created_at"])
    since, until = month_of(job.created_at)
    before = spent_by([key.pk], since, until).get(key.pk, 0) - held_centi
    if before + held_centi <= key.monthly_cap_centi:
        return
    raise KeyCapReached(
        f"This API key may spend {show(key.monthly_cap_centi)} credits a month; {show(before)} are spent or set aside, "
        f"and this costs {show(held_centi)}. Its month ends on {until:%d %B %Y at %H:%M} UTC.",
        seconds=max(1, ceil((until - timezone.now()).total_seconds())),
        details={
            "cap": plain(key.monthly_cap_centi),
            "spent": plain(before),
            "resets_at": until.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        },
    )


def spent_by(keys: Collection[UUID], since: datetime, until: datetime) -> dict[UUID, int]:
    """By key, what its jobs of a time came to and what is set aside for them, in hundredths of a credit."""
    jobs = Job.objects.filter(api_key__in=keys, created_at__gte=since, created_at__lt=until)
    spent: dict[UUID, int] = defaultdict(int)
    charged = jobs.filter(charged_centi__gt=0).order_by().values_list("api_key").annotate(Sum("charged_centi"))
    for key_id, amount_centi in charged:
        spent[key_id] += amount_centi
    unfinished = {str(job_id): key_id for job_id, key_id in jobs.filter(status__in=OPEN).values_list("pk", "api_key")}
    held = (
        Hold.objects.filter(reference__in=unfinished, state=Hold.State.PENDING) if unfinished else Hold.objects.none()
    )
    for reference, amount_centi in held.values_list("reference", "amount_centi"):
        spent[unfinished[reference]] += amount_centi
    return dict(spent)


@receiver(key_spending_asked)
def tell_spending(sender: object, keys: Collection[UUID], since: datetime, until: datetime, **kwargs: Any) -> Any:
    """Answer the pages of accounts, which know of no jobs."""
    return spent_by(keys, since, until)
