"""What a team may do: the limits of its plan. One place, read by submit, by the queue and by pages."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from credits.models import Plan


@dataclass(frozen=True, slots=True)
class Limits:
    """What a plan allows one team."""

    plan: str  # its slug
    name: str
    concurrent_jobs: int  # at a time, at least 1
    queue_priority: int  # higher starts sooner
    queue_cap: int  # unfinished jobs at a time
    requests_per_hour: int
    seconds_between: float  # least time between two requests


def limits_of(team_id: UUID) -> Limits:
    """The limits of a team's plan now, in one statement. A team without a subscription has the default plan."""
    return _limits(plan_of(team_id))


def plan_of(team_id: UUID) -> Plan:
    """A team's plan: that of its subscription while it lasts, else the default one."""
    running = Q(subscriptions__ends_at=None) | Q(subscriptions__ends_at__gt=Now())
    plans = Plan.objects.filter(Q(running, subscriptions__team_id=team_id) | Q(is_default=True))
    return plans.order_by("is_default")[:1].get()


def _limits(plan: Plan) -> Limits:
    return Limits(
        plan=plan.slug,
        name=plan.name,
        # A job exists only when something pays for it, so a plan of 0 at a time lets its jobs through one by one.
        concurrent_jobs=max(1, plan.concurrent_jobs),
        queue_priority=plan.queue_priority,
        queue_cap=plan.queue_cap,
        requests_per_hour=plan.requests_per_hour,
        seconds_between=plan.seconds_between,
    )
