"""The report adds up, by day and by model, in the days of its time zone; and so do visits, sign-ups and buyers."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from credits import plans
from credits.models import Plan, Purchase
from generation import counts, events, report, services, transitions
from generation.models import DayCount, Job
from generation.views.report import days_of
from tests.factories import give, make_job, make_user, team_of
from tests.pictures import PIXEL, deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
GB = 10**9


def ended(user, *, days_ago: float = 0, **columns) -> Job:
    job = make_job(user, count=2)
    deliver(job)
    Job.objects.filter(id=job.id).update(finished_at=Now() - timedelta(days=days_ago), **columns)
    return job


def by_name(lines):
    return {line.name: line for line in lines}


def today() -> str:
    return str(timezone.localdate())


def test_the_numbers_of_a_day():
    user = make_user(credits=1000)
    for seconds in (1, 2, 3, 10):
        ended(user, processing_ms=seconds * 1000, device_ms=seconds * 500, stored_bytes=GB)
    make_job(user)
    (mine,) = transitions.claim(worker="w", models=["starter"], images_max=lambda job: 1)
    transitions.fail(mine, transitions.Failure("engine", "It failed."))
    services.cancel_job(make_job(user))
    line = by_name(report.make(report.last_days(7)).days)[today()]
    assert (line.completed, line.failed, line.canceled, line.jobs, line.images) == (4, 1, 1, 6, 8)
    assert line.success_percent == 80
    assert (line.mean_seconds, round(line.p95_seconds, 2)) == (4, 8.95)
    assert (line.device_seconds, line.stored_bytes) == (8, 4 * GB)


def test_every_day_has_a_line_and_only_its_own_jobs(settings):
    user = make_user(credits=1000)
    ended(user)
    ended(user, days_ago=2)
    ended(user, days_ago=2, model="sdxl-lightning")
    ended(user, days_ago=8)
    made = report.make(report.last_days(7))
    assert [line.completed for line in made.days] == [0, 0, 0, 0, 2, 0, 1]
    assert {line.name: line.completed for line in made.models} == {"starter": 2, "sdxl-lightning": 1}
    assert made.total.images == 6
    assert made.stored_bytes == 8 * len(PIXEL)


@pytest.mark.parametrize(("zone", "day"), [("UTC", "2026-03-29"), ("Asia/Tokyo", "2026-03-30")])
def test_a_day_is_a_day_of_the_time_zone(settings, zone, day):
    settings.TIME_ZONE = zone
    job = ended(make_user(credits=100))
    Job.objects.filter(id=job.id).update(finished_at=datetime(2026, 3, 29, 16, 30, tzinfo=UTC))
    first = datetime(2026, 3, 25, tzinfo=UTC).date()
    lines = report.make(report.Span(first, first + timedelta(days=7))).days
    assert [line.name for line in lines if line.completed] == [day]
    assert len(lines) == 8


def test_a_job_counts_for_the_plan_it_was_ordered_on():
    user = make_user(credits=1000)
    ended(user)
    plans.subscribe(team=team_of(user), plan=Plan.objects.get(slug="pro"), actor="x")
    ended(user)
    ended(user)
    ended(user, plan="")
    made = report.make(report.last_days(1))
    assert {line.name: (line.completed, line.images) for line in made.plans} == {
        "free": (1, 2),
        "pro": (2, 4),
        "unknown": (1, 2),
    }
    assert Job.objects.filter(plan="pro").count() == 2


def test_blocked_pictures_are_not_delivered():
    job = ended(make_user(credits=100))
    Job.objects.filter(id=job.id).update(metadata={"blocked": [{"index": 1}]})
    assert report.make(report.last_days(1)).total.images == 1


def test_a_training_changes_no_figure_of_a_picture(settings):
    settings.DEVICE_PRICE_PER_HOUR = Decimal("3.60")
    user = make_user(credits=1000)
    for seconds in (1, 3):
        ended(user, processing_ms=seconds * 1000, device_ms=seconds * 500, stored_bytes=GB)
    before = report.make(report.last_days(1)).total
    ended(user, kind="creation", processing_ms=7_200_000, device_ms=7_000_000, stored_bytes=50 * GB)
    after = report.make(report.last_days(1)).total
    assert (after.mean_seconds, round(after.p95_seconds, 2), after.stored_bytes) == (2, 2.9, 2 * GB)
    assert after.cost_per_1000 == before.cost_per_1000 == Decimal("0.5")
    assert (after.jobs, after.images) == (3, 4)
    assert (after.device_seconds, after.cost) == (7002, Decimal("7.002"))


def test_jobs_of_one_batch_share_its_device_time_by_their_pictures():
    user = make_user(credits=1000)
    batch = {"worker": "gpu", "claimed_at": timezone.now(), "device_ms": 4000}
    ended(user, plan="free", count=1, **batch)
    ended(user, plan="pro", count=3, **batch)
    ended(user, plan="pro", worker="gpu", device_ms=1000)
    plans_of = by_name(report.make(report.last_days(1)).plans)
    assert (plans_of["free"].device_seconds, plans_of["pro"].device_seconds) == (1, 4)


def test_what_a_thousand_images_cost(settings):
    settings.DEVICE_PRICE_PER_HOUR = Decimal("3.60")
    settings.STORAGE_PRICE_PER_GB_MONTH = Decimal("0.006")
    settings.IMAGE_LIFETIME_DAYS = 90
    line = report.Line(
        "x", completed=500, images=1000, device_seconds=2900.0, image_device_seconds=2000.0, stored_bytes=2 * GB
    )
    assert line.cost == Decimal("2.90") + Decimal("0.036")
    assert line.cost_per_1000 == Decimal("2.00") + Decimal("0.036")
    assert report.Line("x").cost_per_1000 is None
    settings.DEVICE_PRICE_PER_HOUR = Decimal(0)
    assert line.cost is None


def test_one_statement_a_table():
    user = make_user(credits=1000)
    for days_ago in range(3):
        ended(user, days_ago=days_ago)
    with CaptureQueriesContext(connection) as queries:
        report.make(report.last_days(30))
    assert len(queries) == 8  # days, models, plans, all, visits, sign-ups, buyers, the store


def bought(team, kind: str, **columns) -> None:
    Purchase.objects.create(team=team, kind=kind, slug="x", name="x", price_cents=100, currency="INR", **columns)


def test_sign_ups_and_buyers():
    """Whatever is bought makes a buyer: plans and passes bring no grant of a purchase, and some not at once."""
    now, today_date = timezone.now(), timezone.localdate()
    teams = [team_of(make_user()) for _ in range(4)]
    make_user(is_demo=True)
    User.objects.filter(memberships__team=teams[3]).update(date_joined=Now() - timedelta(days=1))
    for kind, team in zip(("plan", "pass", "pack"), teams, strict=False):
        bought(team, kind, state="paid", paid_at=now)
    bought(teams[0], "pack", state="paid", paid_at=now)
    bought(teams[3], "pass", state="paid", paid_at=now - timedelta(days=1))
    for state in ("open", "expired", "failed"):
        bought(teams[3], "plan", state=state)
    give(teams[3], 100)
    days = by_name(report.funnel(report.last_days(3)))
    assert days[today()] == report.Funnel(today(), sign_ups=3, buyers=3)
    yesterday = str(today_date - timedelta(days=1))
    assert days[yesterday] == report.Funnel(yesterday, sign_ups=1, buyers=1)
    assert days[str(today_date - timedelta(days=2))] == report.Funnel(str(today_date - timedelta(days=2)))


# --- Visits ---------------------------------------------------------------------------------------------------------
def visits() -> int:
    counts.write_down()
    row = DayCount.objects.filter(name=counts.VISIT, day=timezone.localdate()).first()
    return row.count if row else 0


def test_a_visit_is_counted_once_and_leaves_no_cookie():
    stranger = Client(headers=BROWSER)
    answer = stranger.get("/")
    assert answer.status_code == 200 and "session" not in answer.cookies
    stranger.get("/", headers={"Referer": "https://search.example/?q=pictures"})
    assert visits() == 2
    assert by_name(report.funnel(report.last_days(1)))[today()].visits == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Referer": "http://testserver/accounts/login/"},
        {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"},
        {"User-Agent": "curl/8.5"},
        {"User-Agent": ""},
        {"Sec-Purpose": "prefetch;prerender"},
    ],
)
def test_what_is_no_visit(headers):
    Client(headers=BROWSER | headers).get("/")
    Client(headers=BROWSER).head("/")
    Client(headers=BROWSER).get("/no-such-page")
    Client(headers=BROWSER).get("/healthz")
    member = Client(headers=BROWSER)
    member.force_login(make_user())
    member.get("/")
    assert visits() == 0


def test_visits_are_written_at_once_when_redis_is_away(monkeypatch):
    monkeypatch.setattr(events, "_try", lambda call, otherwise: otherwise)
    Client(headers=BROWSER).get("/")
    assert DayCount.objects.get().count == 1


def test_a_visit_never_fails_the_page(monkeypatch):
    def fail(*args):
        raise DatabaseError

    monkeypatch.setattr(events, "_try", lambda call, otherwise: otherwise)
    monkeypatch.setattr(counts, "add", fail)
    assert Client(headers=BROWSER).get("/").status_code == 200


def test_counts_that_could_not_be_written_wait_for_the_next_time(monkeypatch):
    def fail(*args):
        raise DatabaseError

    Client(headers=BROWSER).get("/")
    with monkeypatch.context() as patch:
        patch.setattr(counts, "add", fail)
        counts.write_down()
    assert visits() == 1


# --- The command and the page ---------------------------------------------------------------------------------------
def test_the_command_as_csv(settings):
    settings.DEVICE_PRICE_PER_HOUR = Decimal(2)
    ended(make_user(credits=100), processing_ms=1500, device_ms=1000)
    out = StringIO()
    call_command("report", "--days", "2", "--csv", stdout=out)
    rows = list(csv.DictReader(StringIO(out.getvalue())))
    names = [(row["table"], row["name"]) for row in rows[1:]]
    assert names == [("day", today()), ("model", "starter"), ("plan", "free"), ("all", "all")]
    total = rows[4]
    assert (total["images"], total["mean_seconds"], total["cost_per_1000_images"]) == ("2", "1.50", "0.28")
    assert (total["sign_ups"], rows[2]["sign_ups"], rows[3]["images"]) == ("1", "", "2")


def test_the_command_for_people():
    out = StringIO()
    call_command("report", "--days", "3", stdout=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1 + 3 + 1 + 1 + 1 and lines[0].split()[:3] == ["name", "images", "jobs"]
    assert lines[-1] == "No costs: DEVICE_PRICE_PER_HOUR is not set."
    with pytest.raises(CommandError, match="1 to 366"):
        call_command("report", "--days", "0")


def test_the_page_is_for_staff(client):
    address = reverse("admin_report")
    assert client.get(address).status_code == 302
    client.force_login(make_user())
    assert client.get(address).status_code == 302
    client.force_login(make_user(is_staff=True))
    assert address in client.get(reverse("admin:index")).content.decode()
    assert client.get(address).status_code == 200


def test_the_page_draws_without_style_or_script(client):
    client.force_login(make_user(is_staff=True))
    ended(make_user(credits=100), processing_ms=1500, device_ms=1000)
    answer = client.get(reverse("admin_report"), {"days": "7"})
    text = answer.content.decode()
    content = text[text.index('id="content-main"') :]
    assert content.count("<svg viewBox") == 6 and content.count("<rect") == 6 * 7
    assert " style=" not in text and "<style" not in text and "onclick" not in text
    assert f"<title>{today()}: 2</title>" in content and "unsafe" not in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("text", "days"), [("7", 7), ("366", 366), ("0", 30), ("367", 30), ("", 30), ("-1", 30), ("٣", 30)]
)
def test_odd_days_mean_the_usual_ones(text, days):
    assert days_of(text) == days
