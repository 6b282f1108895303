from datetime import timedelta

import pytest
from django.utils import timezone

from credits.models import Plan
from credits.queries import balance_of
from generation.errors import TooFast
from generation.models import Job
from tests.factories import make_job, make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture(autouse=True)
def limits_on(settings) -> None:
    settings.RATE_LIMITS = True


def shift(job: Job, **ago: float) -> None:
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(**ago))


def test_two_requests_of_the_free_plan_need_two_seconds_between_them():
    user = make_user(credits=100)
    first = make_job(user)
    with pytest.raises(TooFast, match=r"^Wait [12] seconds?, then send it again\.$") as refused:
        make_job(user)
    assert refused.value.http_status == 429 and refused.value.retry_after_seconds in (1, 2)
    assert Job.objects.count() == 1 and balance_of(team_of(user)).held_centi == 600
    shift(first, seconds=3)
    make_job(user)
    assert Job.objects.count() == 2


def test_the_free_plan_takes_thirty_requests_an_hour():
    user = make_user(credits=1000)
    Plan.objects.filter(slug="free").update(requests_per_hour=3)
    for minutes in (50, 30, 10):
        shift(make_job(user), minutes=minutes)
    with pytest.raises(
        TooFast, match=r"The Free plan allows 3 requests an hour\. Try again in 10 minutes\."
    ) as refused:
        make_job(user)
    assert 540 <= refused.value.retry_after_seconds <= 600
    shift(Job.objects.earliest("created_at"), minutes=61)
    make_job(user)
    assert Job.objects.count() == 4


def test_a_repeated_request_is_no_new_one():
    user = make_user(credits=100)
    job = make_job(user, request_key="once")
    assert make_job(user, request_key="once").pk == job.pk


def test_teams_do_not_slow_each_other():
    make_job(make_user(credits=100))
    make_job(make_user(credits=100))
    assert Job.objects.count() == 2
