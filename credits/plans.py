"""Plans: what a team may do, and the credits it gets every month."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts.models import Team
from credits import ledger
from credits.clock import now
from credits.errors import BilledElsewhere
from credits.models import Grant, Plan, Subscription
from credits.periods import number_at, start_of
from tenkaigen.errors import DomainError

logger = structlog.get_logger(__name__)


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


@dataclass(frozen=True, slots=True)
class Period:
    """One month of a subscription."""

    number: int
    starts_at: datetime
    ends_at: datetime


def limits_of(team_id: UUID) -> Limits:
    """The limits of a team's plan now, in one statement. A team without a subscription has the default plan."""
    plan = plan_of(team_id)
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


def plan_of(team_id: UUID) -> Plan:
    """A team's plan: that of its subscription while it lasts, else the default one."""
    running = Q(subscriptions__ends_at=None) | Q(subscriptions__ends_at__gt=Now())
    plans = Plan.objects.filter(Q(running, subscriptions__team_id=team_id) | Q(is_default=True))
    return plans.order_by("is_default")[:1].get()


def running() -> QuerySet[Subscription]:
    """Subscriptions that have begun and not ended."""
    return Subscription.objects.filter(Q(ends_at=None) | Q(ends_at__gt=Now()), anchor_at__lte=Now())


def period_of(subscription: Subscription, moment: datetime) -> Period | None:
    """The month of a subscription that a moment is in; None before it begins and after it ends."""
    number = number_at(subscription.anchor_at, moment)
    if number < 0 or (subscription.ends_at and moment >= subscription.ends_at):
        return None
    return Period(number, start_of(subscription.anchor_at, number), start_of(subscription.anchor_at, number + 1))


@transaction.atomic
def subscribe(*, team: Team, plan: Plan, actor: str) -> Subscription:
    """Put a team on a plan from now on, by hand: its months begin anew, and the first is granted at once.

    The plan it is on already changes nothing. Credits it has stay until their end. The default plan ends the
    subscription instead.

    Raises:
        BilledElsewhere: a payment provider keeps this team's subscription.
    """
    current = Subscription.objects.select_for_update().filter(team=team).first()
    if current and current.external_ref:
        raise BilledElsewhere("This team pays by the payment provider; change its plan there.")
    moment = now()
    if current and current.plan_id == plan.pk and period_of(current, moment):
        return current
    if plan.is_default:
        Subscription.objects.filter(team=team).update(ends_at=Now(), updated_at=Now())
        return current or Subscription(team=team, plan=plan)
    made, _ = Subscription.objects.update_or_create(
        team=team, defaults={"plan": plan, "anchor_at": moment, "ends_at": None, "updated_at": moment}
    )
    replenish(made, moment, actor=actor)
    return made


def replenish(subscription: Subscription, moment: datetime, *, actor: str = "system") -> Grant | None:
    """Grant the credits of the month that `moment` is in; the new grant, or None where nothing was due.

    Nothing is due between two subscriptions, on a plan without credits, where invoices grant, and the second time.
    """
    period = period_of(subscription, moment)
    plan = subscription.plan
    if period is None or not plan.monthly_centi or not subscription.grants_monthly:
        return None
    anchor = subscription.anchor_at.strftime("%Y%m%dT%H%M%S")
    reference = f"sub:{subscription.pk}:{anchor}:{period.number}"
    # What was granted stays what it was: a plan whose credits staff change counts from the next month.
    if Grant.objects.filter(source=Grant.Source.PLAN, source_ref=reference).exists():
        return None
    return ledger.grant(
        team_id=subscription.team_id,
        amount_centi=plan.monthly_centi,
        source=Grant.Source.PLAN,
        source_ref=reference,
        effective_at=period.starts_at,
        expires_at=period.ends_at,
        actor=actor,
        reason=f"{plan.name}, {period.starts_at:%d %b %Y} to {period.ends_at:%d %b %Y}",
    )


def replenish_all() -> tuple[int, int]:
    """Grant every team the month it is in. How many were granted now, and how many could not be."""
    granted = failed = 0
    due = running().filter(grants_monthly=True, plan__monthly_centi__gt=0).select_related("plan").order_by("pk")
    moment = now()
    for subscription in due.iterator(chunk_size=500):
        try:
            with transaction.atomic():
                granted += replenish(subscription, moment) is not None
        except DomainError as error:
            # One busy wallet must not keep the others waiting; the next run finds it again.
            logger.warning("replenish_later", team=str(subscription.team_id), code=error.code)
            failed += 1
    return granted, failed
