"""Plans: what a team may do, and the credits it gets every month."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts import activity
from accounts.models import Team
from credits import ledger
from credits.clock import now
from credits.errors import BilledElsewhere
from credits.locks import lock_wallet, waiting
from credits.models import Grant, Plan, Subscription
from credits.periods import number_at, start_of
from credits.signals import plan_changed
from tenkaigen.errors import DomainError

logger = structlog.get_logger(__name__)
BATCH = 500  # subscriptions whose months are looked up in one statement


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
    models_max: int  # of the team's own
    training_images_max: int  # that one model learns from
    model_storage_bytes: int  # for training pictures and trained versions


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
        models_max=plan.models_max,
        training_images_max=plan.training_images_max,
        model_storage_bytes=plan.model_storage_bytes,
    )


def plan_of(team_id: UUID) -> Plan:
    """A team's plan: that of its subscription while it lasts, else the default one."""
    own = Subscription.objects.filter(_lasts(), team_id=team_id)
    # Not a join: it would read every team's subscription to find out that one has none.
    plans = Plan.objects.filter(Q(pk__in=own.values("plan")) | Q(is_default=True))
    return plans.order_by("is_default")[:1].get()


def running() -> QuerySet[Subscription]:
    """Subscriptions that have begun and not ended."""
    return Subscription.objects.filter(_lasts(), anchor_at__lte=Now())


def period_of(subscription: Subscription, moment: datetime) -> Period | None:
    """The month of a subscription that a moment is in; None before it begins and after it ends."""
    number = number_at(subscription.anchor_at, moment)
    if number < 0 or (subscription.ends_at and moment >= subscription.ends_at):
        return None
    return Period(number, start_of(subscription.anchor_at, number), start_of(subscription.anchor_at, number + 1))


@transaction.atomic
def subscribe(*, team: Team, plan: Plan, actor: str) -> Subscription | None:
    """Put a team on a plan from now on, by hand: its months begin anew, and the first is granted at once.

    The plan it is on already changes nothing. Credits it has stay until their end. The default plan ends the
    subscription instead; None where there is none to end.

    Raises:
        BilledElsewhere: a payment provider keeps this team's subscription.
        Busy: the wallet's lock did not come in time.
    """
    subscriptions = Subscription.objects.filter(team=team)
    with waiting():
        subscriptions.select_for_update().first()  # before the wallet, as whoever follows the payment provider
    lock_wallet(team.pk)  # two at once would begin two first months where there is no subscription yet
    current = subscriptions.first()
    if current and current.external_ref:
        raise BilledElsewhere("This team pays by the payment provider; change its plan there.")
    moment = now()
    is_running = current is not None and period_of(current, moment) is not None
    if plan.is_default and not is_running:
        return current
    if current and is_running and current.plan_id == plan.pk:
        return current
    subscription = current or Subscription(team=team)
    if plan.is_default:
        subscription.ends_at = moment
    else:
        subscription.plan, subscription.anchor_at, subscription.ends_at = plan, moment, None
        subscription.grants_monthly = True
    subscription.updated_at = moment
    subscription.save()
    replenish(subscription, moment, actor=actor)
    activity.record(team=team, actor=actor, verb="billing.plan_set", target=plan.name, plan=plan.slug)
    plan_changed.send(sender=Subscription, team_id=team.pk)
    logger.info("plan_set", team=str(team.pk), plan=plan.slug, actor=actor)
    return subscription


@transaction.atomic
def change(plan: Plan, *, actor: str) -> Plan:
    """Save what staff made of a plan. Its limits count at once, its credits from each team's next month on."""
    plan.save()
    plan_changed.send(sender=Plan, team_id=None)
    logger.info("plan_changed", plan=plan.slug, actor=actor)
    return plan


def replenish(subscription: Subscription, moment: datetime, *, actor: str = "system") -> Grant | None:
    """Grant the credits of the month that `moment` is in; the new grant, or None where nothing was due.

    Nothing is due between two subscriptions, on a plan without credits, where invoices grant, and the second time.
    """
    period = period_of(subscription, moment)
    plan = subscription.plan
    if period is None or not plan.monthly_centi or not subscription.grants_monthly:
        return None
    reference = _reference(subscription, period.number)
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
    """Grant every team the month it is in. How many were granted now, and how many could not be.

    Safe to run twice, also at once: a month has one reference, and is looked at again under the wallet's lock.
    """
    granted = failed = 0
    moment = now()
    rows = running().filter(grants_monthly=True, plan__monthly_centi__gt=0).order_by("pk")
    subscriptions = rows.iterator(chunk_size=BATCH)
    while some := list(islice(subscriptions, BATCH)):
        for subscription in _due(some, moment):
            try:
                granted += _replenish_locked(subscription, moment)
            except DomainError as error:
                # One busy wallet must not keep the others waiting; the next run finds it again.
                logger.warning("replenish_later", team=str(subscription.team_id), code=error.code)
                failed += 1
    return granted, failed


def _due(subscriptions: Iterable[Subscription], moment: datetime) -> list[Subscription]:
    """Those whose month was not granted yet, in one statement."""
    months = [(row, period_of(row, moment)) for row in subscriptions]
    wanted = {_reference(row, period.number): row for row, period in months if period}
    granted = Grant.objects.filter(source=Grant.Source.PLAN, source_ref__in=list(wanted))
    done = set(granted.values_list("source_ref", flat=True))
    return [row for reference, row in wanted.items() if reference not in done]


@transaction.atomic
def _replenish_locked(subscription: Subscription, moment: datetime) -> bool:
    lock_wallet(subscription.team_id)
    # Read again: its plan may have been changed since the list was made.
    fresh = Subscription.objects.select_related("plan").get(pk=subscription.pk)
    return replenish(fresh, moment) is not None


def _reference(subscription: Subscription, number: int) -> str:
    return f"sub:{subscription.pk}:{subscription.anchor_at:%Y%m%dT%H%M%S.%f}:{number}"


def _lasts() -> Q:
    return Q(ends_at=None) | Q(ends_at__gt=Now())
