"""Hourly passes: issued once, started once, one at a time, and never worth more images than were sold."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import Activity
from credits import ledger, passes
from credits.audit import find_drift
from credits.errors import InsufficientCredits, NoSuchProduct, PassNotReady, ReferenceTaken
from credits.models import Grant, Hold, Pass, PassProduct
from credits.pricing import Quote
from credits.queries import balance_of
from tests.factories import make_user, team_of

pytestmark = pytest.mark.django_db
ACTOR = "staff:ana@example.com"


def issue(team, slug: str = "flash-lite", reference: str = "sale-1") -> Pass:
    return passes.issue(team=team, product=passes.product_called(slug), reference=reference, actor=ACTOR)


def activate(made: Pass) -> Pass:
    return passes.activate(team=made.team, pass_id=made.pk, actor=ACTOR)


def quote(count: int, *, side_px: int = 512, quality: str = "standard") -> Quote:
    return Quote(600, count, facts={"width": side_px, "height": 256, "quality": quality})


@transaction.atomic
def reserve(team, count: int, reference: str = "job-1", **facts) -> Hold:
    return ledger.reserve(team_id=team.pk, quote=quote(count, **facts), reference=reference)


@transaction.atomic
def settle(team, delivered: int, reference: str = "job-1") -> ledger.Receipt:
    return ledger.settle(team_id=team.pk, reference=reference, delivered=delivered)


def left(made: Pass) -> int:
    assert find_drift() == []
    return Grant.objects.get(of_pass=made).available_centi // 100


def end_the_hour(made: Pass) -> None:
    Grant.objects.filter(of_pass=made).update(expires_at=Now())


@pytest.fixture
def team():
    return team_of(make_user(credits=100))


def test_one_reference_issues_one_pass(team):
    first = issue(team)
    assert issue(team).pk == first.pk and Pass.objects.count() == 1
    assert (first.images, first.minutes, first.side_px_max, first.issued_by) == (3, 60, 512, ACTOR)
    for other_team, slug in ((team, "flash"), (team_of(make_user()), "flash-lite")):
        with pytest.raises(ReferenceTaken):
            issue(other_team, slug)
    assert Pass.objects.count() == 1
    assert Activity.objects.filter(team=team, verb="pass.issued").count() == 1


def test_a_pass_that_is_not_sold_is_not_issued(team):
    PassProduct.objects.filter(slug="flash").update(is_active=False)
    for slug in ("flash", "gold"):
        with pytest.raises(NoSuchProduct):
            issue(team, slug)
    assert not Pass.objects.exists()


def test_what_was_issued_stays_what_it_was(team):
    made = issue(team)
    PassProduct.objects.filter(slug="flash-lite").update(images=1, minutes=1, side_px_max=64)
    started = activate(made)
    assert left(started) == 3
    lasts = started.grant.expires_at - started.grant.effective_at
    assert (started.grant.covers_px, lasts) == (512, timedelta(minutes=60))


def test_the_hour_begins_when_it_is_started_and_only_once(team):
    made = issue(team)
    assert not Grant.objects.filter(source="pass").exists()
    first = activate(made)
    again = activate(made)
    assert again.grant_id == first.grant_id and Grant.objects.filter(source="pass").count() == 1
    assert timedelta(minutes=59) < first.grant.expires_at - timezone.now() <= timedelta(minutes=60)
    assert Activity.objects.filter(team=team, verb="pass.activated").count() == 1


def test_another_team_starts_nothing(team):
    made = issue(team)
    with pytest.raises(Pass.DoesNotExist):
        passes.activate(team=team_of(make_user()), pass_id=made.pk, actor=ACTOR)
    assert not Grant.objects.filter(source="pass").exists()


def test_a_second_pass_waits_until_the_first_is_used_up_or_over(team):
    first, second, third = (issue(team, reference=f"sale-{number}") for number in range(3))
    activate(first)
    with pytest.raises(PassNotReady, match="Your Flash Lite pass still runs"):
        activate(second)
    assert Grant.objects.filter(source="pass").count() == 1
    reserve(team, 3)
    activate(second)
    end_the_hour(second)
    activate(third)
    assert passes.running_of(team).pk == third.pk


def test_a_pass_pays_what_it_has_and_credits_pay_the_rest(team):
    made = activate(issue(team))
    hold = reserve(team, 5)
    assert (hold.pass_images, hold.amount_centi) == (3, 1200)
    assert (left(made), balance_of(team).available_centi) == (0, 8800)
    receipt = settle(team, delivered=4)
    assert (receipt.pass_images, receipt.charged_centi, receipt.released_centi) == (3, 600, 600)
    assert (left(made), balance_of(team).available_centi) == (0, 9400)


def test_what_a_failed_job_held_comes_back_to_the_pass(team):
    made = activate(issue(team))
    reserve(team, 2)
    assert left(made) == 1
    receipt = settle(team, delivered=0)
    assert (left(made), receipt.pass_images, receipt.charged_centi) == (3, 0, 0)
    assert balance_of(team).available_centi == 10_000


def test_a_pass_alone_is_enough():
    team = team_of(make_user())
    activate(issue(team))
    assert reserve(team, 3).amount_centi == 0
    with pytest.raises(InsufficientCredits, match=r"This costs 6 credits; you have 0\."):
        reserve(team, 1, "job-2")


@pytest.mark.parametrize("facts", [{"quality": "hd"}, {"side_px": 513}, {"side_px": 1024}])
def test_a_pass_pays_no_better_picture_than_it_covers(team, facts):
    made = activate(issue(team))
    hold = reserve(team, 1, **facts)
    assert (hold.pass_images, hold.amount_centi, left(made)) == (0, 600, 3)


def test_a_pass_whose_hour_is_over_pays_nothing(team):
    made = activate(issue(team))
    end_the_hour(made)
    hold = reserve(team, 1)
    assert (hold.pass_images, hold.amount_centi) == (0, 600)
    assert passes.running_of(team) is None and passes.shown_to(team) == []


def test_a_job_that_outlives_the_hour_is_paid_and_what_it_releases_is_gone(team):
    made = activate(issue(team))
    reserve(team, 3)
    end_the_hour(made)
    assert settle(team, delivered=1).pass_images == 1
    grant = Grant.objects.get(of_pass=made)
    assert (grant.spent_centi, grant.expired_centi, grant.available_centi) == (100, 200, 0)
    assert balance_of(team).available_centi == 10_000 and find_drift() == []


def test_the_panel_shows_the_running_pass_before_those_that_wait(team):
    waiting, running, over = (issue(team, reference=f"sale-{number}") for number in range(3))
    activate(over)
    end_the_hour(over)
    activate(running)
    assert [shown.pk for shown in passes.shown_to(team)] == [running.pk, waiting.pk]


def together(*calls):
    barrier = Barrier(len(calls))

    def one(call):
        try:
            barrier.wait(timeout=30)
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@pytest.mark.django_db(transaction=True)
def test_of_two_passes_started_at_once_exactly_one_runs():
    team = team_of(make_user())
    made = [issue(team, reference=f"sale-{number}") for number in range(4)]
    results = together(*[lambda one=one: activate(one) for one in made])
    assert [type(result) for result in results].count(Pass) == 1
    assert [type(result) for result in results].count(PassNotReady) == 3
    assert Grant.objects.filter(source="pass").count() == 1 and find_drift() == []


@pytest.mark.django_db(transaction=True)
def test_parallel_jobs_never_take_more_images_than_the_pass_has():
    team = team_of(make_user())
    made = activate(issue(team, "flash"))
    results = together(*[lambda place=place: reserve(team, 3, f"job-{place}") for place in range(6)])
    held = [result.pass_images for result in results if isinstance(result, Hold)]
    assert held == [3, 3] and sum(isinstance(result, InsufficientCredits) for result in results) == 4
    assert left(made) == 2
