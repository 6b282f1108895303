"""The owner's figures: per person and per team, in the days of the report only."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from credits.models import Payment, Purchase
from generation import counts, owner, report
from generation.middleware import ApiCountMiddleware
from generation.models import DayCount, Job
from tests.factories import make_job, make_user, team_of
from tests.pictures import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


def asked() -> owner.Figures:
    span = report.last_days(7)
    return owner.figures(span, report.make(span))


def bought(team, kind: str, **columns) -> None:
    facts = {
        "slug": "x",
        "name": "x",
        "price_cents": 100,
        "currency": "INR",
        "state": "paid",
        "paid_at": timezone.now(),
    }
    Purchase.objects.create(team=team, kind=kind, **facts | columns)


def paid(team, name: str, cents: int, currency: str = "inr", **columns) -> None:
    Payment.objects.create(team=team, payment_intent=name, amount_cents=cents, currency=currency, **columns)


def test_figures_are_of_people_and_teams_and_of_these_days():
    long_ago = timezone.now() - timedelta(days=8)
    ada, bob = make_user(credits=100), make_user(credits=100)
    for user, count in ((ada, 1), (ada, 3), (bob, 2)):
        deliver(make_job(user, count=count))
    old = make_job(bob)
    deliver(old)
    Job.objects.filter(id=old.id).update(finished_at=long_ago)
    DayCount.objects.create(day=timezone.localdate(), name=counts.VISIT, count=40)
    for kind in ("plan", "pass"):
        bought(team_of(ada), kind)
    bought(team_of(bob), "pack", paid_at=long_ago)
    paid(team_of(ada), "pi_1", 50_000, refunded_cents=10_000)
    paid(team_of(bob), "pi_2", 20_000)
    paid(team_of(ada), "pi_3", 900, "usd")
    paid(team_of(bob), "pi_4", 7_000, created_at=long_ago)
    found = asked()
    assert (found.people, found.images, found.images_per_person) == (2, 6, 3)
    assert (found.visits, found.buyers, found.buyers_percent) == (40, 1, 2.5)
    assert found.paid == [owner.Paid("INR", 60_000, 2), owner.Paid("USD", 900, 1)]
    assert found.paid[0].cents_per_team == 30_000
    charged = sum(job.charged_centi for job in Job.objects.exclude(id=old.id))
    assert (found.granted_centi, found.charged_centi) == (20_000, charged)
    assert found.used_percent == charged / 200


def test_answers_of_the_rest_interface_are_counted_by_what_they_are(client):
    client.get("/jobs")  # a page
    assert client.get("/api/v1/jobs").status_code == 401
    client.force_login(make_user())
    assert [client.get("/api/v1/jobs").status_code for _ in range(2)] == [200, 200]
    broken = ApiCountMiddleware(lambda request: HttpResponse(status=500))
    broken(RequestFactory().get("/api/v1/jobs"))
    found = asked()
    assert (found.answers, found.refused, found.failed) == (4, 1, 1)
    assert (found.refused_percent, found.failed_percent) == (25, 25)


def test_nothing_is_divided_by_nothing(client):
    found = asked()
    assert (found.people, found.images_per_person, found.used_percent, found.buyers_percent) == (0, None, None, None)
    assert (found.paid, found.failed_percent) == ([], None)
    client.force_login(make_user(is_staff=True))
    assert client.get(reverse("admin_report")).status_code == 200


def test_the_command_and_the_page_say_the_same(client):
    user = make_user(credits=100, is_staff=True)
    deliver(make_job(user, count=2))
    paid(team_of(user), "pi_1", 12_345)
    out = StringIO()
    call_command("report", stdout=out)
    lines = out.getvalue().splitlines()
    assert "people who made images: 1" in lines and "images per person: 2.0" in lines
    assert "paid in INR: 123.45, teams: 1" in lines
    client.force_login(user)
    page = client.get(reverse("admin_report")).content.decode()
    assert "<td>INR 123.45</td>" in page and "Images per person</th><td>2.0</td>" in page


def test_the_figures_take_five_statements():
    span = report.last_days(7)
    made = report.make(span)
    with CaptureQueriesContext(connection) as queries:
        owner.figures(span, made)
    assert len(queries) == 5
