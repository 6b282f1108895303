"""Plans: which one a team has, and that every month is granted once, whatever the clock and beat do."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Activity
from credits import plans
from credits.audit import find_drift
from credits.errors import BilledElsewhere, UnknownTeam
from credits.models import Grant, Plan, Subscription
from credits.queries import balance_of
from credits.signals import plan_changed
from generation.models import TeamSlot
from tenkaigen.errors import Busy
from tests.factories import make_job, make_user, team_of

pytestmark = pytest.mark.django_db


def plan(slug: str) -> Plan:
    return Plan.objects.get(slug=slug)


def subscribe(team, slug: str = "basic") -> Subscription | None:
    return plans.subscribe(team=team, plan=plan(slug), actor="staff:ana@example.com")


def begin(team, anchor: datetime, slug: str = "basic", **fields) -> Subscription:
    """A subscription whose months began long ago, without a grant."""
    return Subscription.objects.create(team=team, plan=plan(slug), anchor_at=anchor, **fields)


def months(team) -> list[tuple[str, int]]:
    grants = Grant.objects.filter(wallet__team=team, source="plan").order_by("id")
    return [(grant.effective_at.date().isoformat(), grant.granted_centi) for grant in grants]


def available(team) -> int:
    assert find_drift() == []
    return balance_of(team).available_centi


def at(monkeypatch, moment: datetime) -> None:
    monkeypatch.setattr(plans, "now", lambda: moment)


@pytest.fixture
def team():
    return team_of(make_user())


def test_a_team_without_a_subscription_has_the_default_plan_and_one_job_at_a_time(team):
    limits = plans.limits_of(team.pk)
    assert (limits.plan, limits.concurrent_jobs, limits.requests_per_hour, limits.seconds_between) == ("free", 1, 30, 2)


def test_a_subscription_counts_until_it_ends(team):
    subscription = subscribe(team, "pro")
    assert (plans.limits_of(team.pk).plan, plans.limits_of(team.pk).concurrent_jobs) == ("pro", 3)
    Subscription.objects.filter(pk=subscription.pk).update(ends_at=timezone.now() + timedelta(hours=1))
    assert plans.plan_of(team.pk).slug == "pro"
    Subscription.objects.filter(pk=subscription.pk).update(
        anchor_at=timezone.now() - timedelta(days=2), ends_at=timezone.now() - timedelta(seconds=1)
    )
    assert plans.plan_of(team.pk).slug == "free"


def test_a_teams_limits_take_one_statement_that_reads_no_other_team(team):
    subscribe(team, "pro")
    with CaptureQueriesContext(connection) as queries:
        assert plans.limits_of(team.pk).plan == "pro"
    assert len(queries) == 1 and " JOIN " not in queries[0]["sql"]


def test_subscribing_grants_the_first_month_at_once_and_again_nothing(team):
    first = subscribe(team)
    assert available(team) == 50_000
    again = subscribe(team)
    assert (again.pk, again.anchor_at) == (first.pk, first.anchor_at)
    assert available(team) == 50_000
    line = Activity.objects.get(team=team, verb="billing.plan_set")
    assert (line.actor, line.target) == ("staff:ana@example.com", "Basic")


def test_another_plan_begins_months_of_its_own_and_keeps_what_is_there(team):
    subscribe(team)
    subscribe(team, "pro")
    assert Subscription.objects.filter(team=team).count() == 1
    assert available(team) == 250_000
    assert [centi for _, centi in months(team)] == [50_000, 200_000]


def test_the_default_plan_ends_the_subscription_and_takes_nothing(team):
    assert subscribe(team, "free") is None
    subscribe(team)
    ended = subscribe(team, "free")
    assert ended.ends_at is not None and plans.plan_of(team.pk).slug == "free"
    assert available(team) == 50_000
    plans.replenish_all()
    assert available(team) == 50_000
    first_end = ended.ends_at
    assert subscribe(team, "free").ends_at == first_end


def test_a_subscription_of_the_payment_provider_is_not_changed_by_hand(team):
    begin(team, timezone.now(), external_ref="sub_1", grants_monthly=False)
    for slug in ("pro", "free"):
        with pytest.raises(BilledElsewhere):
            subscribe(team, slug)
    assert Subscription.objects.get(team=team).plan.slug == "basic" and months(team) == []
    assert not Activity.objects.filter(verb="billing.plan_set").exists()


def test_nobody_is_subscribed_who_is_not_there(team):
    team.pk = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(UnknownTeam):
        subscribe(team)
    assert not Subscription.objects.exists()


def test_who_listens_hears_of_a_teams_new_plan_and_of_new_limits(team):
    heard = []

    def hear(sender, team_id, **kwargs):
        heard.append(team_id)

    plan_changed.connect(hear)
    try:
        subscribe(team)
        subscribe(team)
        changed = plan("basic")
        changed.concurrent_jobs = 7
        plans.change(changed, actor="staff:ana@example.com")
    finally:
        plan_changed.disconnect(hear)
    assert heard == [team.pk, None]
    assert plans.limits_of(team.pk).concurrent_jobs == 7


# --- Months ---------------------------------------------------------------------------------------------------------
def test_months_follow_the_anchor_and_never_drift(team, monkeypatch):
    begin(team, datetime(2026, 1, 31, 9, tzinfo=UTC))
    for month, day, hour in ((1, 31, 10), (2, 28, 8), (2, 28, 10), (3, 31, 10)):
        at(monkeypatch, datetime(2026, month, day, hour, tzinfo=UTC))
        plans.replenish_all()
    assert months(team) == [("2026-01-31", 50_000), ("2026-02-28", 50_000), ("2026-03-31", 50_000)]
    ends = Grant.objects.filter(wallet__team=team).order_by("id").values_list("expires_at", flat=True)
    assert [end.date().isoformat() for end in ends] == ["2026-02-28", "2026-03-31", "2026-04-30"]


def test_replenishing_twice_grants_once(team):
    begin(team, timezone.now() - timedelta(days=1))
    assert plans.replenish_all() == (1, 0)
    assert plans.replenish_all() == (0, 0)
    assert available(team) == 50_000


def test_a_clock_that_jumps_back_and_on_again_grants_nothing_twice(team, monkeypatch):
    begin(team, datetime(2026, 1, 31, tzinfo=UTC))
    for month in (2, 3, 2, 1, 3):
        at(monkeypatch, datetime(2026, month, 28 if month == 2 else 31, 12, tzinfo=UTC))
        plans.replenish_all()
    at(monkeypatch, datetime(2025, 12, 1, tzinfo=UTC))  # before there was a subscription
    plans.replenish_all()
    assert [begins for begins, _ in months(team)] == ["2026-02-28", "2026-03-31", "2026-01-31"]
    assert find_drift() == []


def test_a_month_that_has_passed_meanwhile_is_not_granted(team, monkeypatch):
    begin(team, datetime(2026, 1, 10, tzinfo=UTC))
    at(monkeypatch, datetime(2026, 4, 11, tzinfo=UTC))
    assert plans.replenish_all() == (1, 0)
    assert months(team) == [("2026-04-10", 50_000)]


def test_credits_of_a_plan_that_staff_changed_count_from_the_next_month(team, monkeypatch):
    begin(team, datetime(2026, 1, 10, tzinfo=UTC))
    at(monkeypatch, datetime(2026, 1, 11, tzinfo=UTC))
    plans.replenish_all()
    Plan.objects.filter(slug="basic").update(monthly_centi=70_000)
    plans.replenish_all()
    at(monkeypatch, datetime(2026, 2, 11, tzinfo=UTC))
    plans.replenish_all()
    assert months(team) == [("2026-01-10", 50_000), ("2026-02-10", 70_000)]


def test_nothing_is_due_where_invoices_grant_before_the_first_month_and_after_the_end(monkeypatch):
    now = timezone.now()
    begin(team_of(make_user()), now - timedelta(days=1), grants_monthly=False)
    begin(team_of(make_user()), now + timedelta(days=1))
    begin(team_of(make_user()), now - timedelta(days=9), ends_at=now - timedelta(days=1))
    assert plans.replenish_all() == (0, 0)
    assert not Grant.objects.filter(source="plan").exists()


def test_one_busy_wallet_keeps_nobody_else_waiting(team, monkeypatch):
    other = team_of(make_user())
    for each in (team, other):
        begin(each, timezone.now() - timedelta(days=1))
    grant = plans.ledger.grant

    def busy(*, team_id, **facts):
        if team_id == team.pk:
            raise Busy("later")
        return grant(team_id=team_id, **facts)

    monkeypatch.setattr(plans.ledger, "grant", busy)
    assert plans.replenish_all() == (1, 1)
    monkeypatch.undo()
    assert plans.replenish_all() == (1, 0)
    assert available(team) == available(other) == 50_000


def test_looking_for_due_months_takes_two_statements_when_none_is(team):
    begin(team, timezone.now() - timedelta(days=1))
    for _ in range(3):
        begin(team_of(make_user()), timezone.now() - timedelta(days=1))
    plans.replenish_all()
    with CaptureQueriesContext(connection) as queries:
        plans.replenish_all()
    assert len(queries) == 3  # the clock, the subscriptions, their grants


def together(*calls):
    barrier = Barrier(len(calls))

    def one(call):
        try:
            barrier.wait(timeout=30)
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_begin_one_first_month():
    team = team_of(make_user())
    together(*[lambda: subscribe(team)] * 4)
    assert Subscription.objects.count() == 1 and available(team) == 50_000


@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_grant_one_month():
    team = team_of(make_user())
    begin(team, timezone.now() - timedelta(days=1))
    assert sorted(together(*[plans.replenish_all] * 4)) == [(0, 0), (0, 0), (0, 0), (1, 0)]
    assert available(team) == 50_000


@pytest.mark.usefixtures("catalogue", "bell")
def test_a_new_plan_counts_for_the_jobs_that_wait(django_capture_on_commit_callbacks):
    user = make_user(credits=100)
    make_job(user)
    with django_capture_on_commit_callbacks(execute=True):
        subscribe(team_of(user), "pro")
    assert TeamSlot.objects.get(team=team_of(user)).jobs_max == 3
    with django_capture_on_commit_callbacks(execute=True):
        changed = plan("pro")
        changed.concurrent_jobs = 5
        plans.change(changed, actor="staff:ana@example.com")
    assert TeamSlot.objects.get(team=team_of(user)).jobs_max == 5
