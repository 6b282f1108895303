"""/metrics: right whatever process asks, open to staff and to the token, not there for anybody else."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from credits import plans
from credits.models import Plan
from generation import counts, events, report, services, transitions
from generation.models import DayCount, Job
from tenkaigen import alarms
from tests.factories import make_job, make_user, team_of
from tests.pictures import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def token(settings) -> dict[str, str]:
    settings.METRICS_TOKEN = "scrape-me"
    return {"Authorization": "Bearer scrape-me"}


@pytest.fixture(autouse=True)
def empty_memory() -> None:
    report.cache.clear()


def scrape(token) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, label values in the order of the labels' names) -> value, as Prometheus would read it."""
    answer = Client(headers=token).get("/metrics")
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (s.name, tuple(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def fail(job: Job, code: str = "engine") -> None:
    (mine,) = transitions.claim(worker="w", models=[job.model], images_max=lambda job: 1)
    assert transitions.fail(mine, transitions.Failure(code, "It failed."))


def test_strangers_members_and_wrong_tokens_find_nothing(token, settings):
    member = Client()
    member.force_login(make_user())
    gone = Client()
    gone.force_login(make_user(is_staff=True, is_active=False))
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "scrape-me"},
    ):
        assert Client(headers=headers).get("/metrics").status_code == 404
    assert member.get("/metrics").status_code == gone.get("/metrics").status_code == 404
    assert Client(headers=token).post("/metrics").status_code == 404
    settings.METRICS_TOKEN = ""
    assert Client(headers={"Authorization": "Bearer "}).get("/metrics").status_code == 404
    assert Client(headers=token).get("/metrics").status_code == 404


def test_staff_may_look(client):
    client.force_login(make_user(is_staff=True))
    assert client.get("/metrics").status_code == 200


def test_every_job_is_counted_once(token):
    user = make_user(credits=200)
    deliver(make_job(user, count=3))
    fail(make_job(user))
    services.cancel_job(make_job(user))
    make_job(user)
    make_job(user)
    Job.objects.filter(status="queued").update(created_at=Now() - timedelta(seconds=90))
    transitions.claim(worker="w", models=["starter"], images_max=lambda job: 1)
    Job.objects.filter(status="completed").update(device_ms=2500, processing_ms=3000)
    found = scrape(token)
    assert found["tenkaigen_jobs_ended_total", ("image", "starter", "free", "completed")] == 1
    assert found["tenkaigen_jobs_ended_total", ("image", "starter", "free", "failed")] == 1
    assert found["tenkaigen_jobs_ended_total", ("image", "starter", "free", "canceled")] == 1
    assert found["tenkaigen_jobs_failed_total", ("engine", "starter")] == 1
    assert found["tenkaigen_jobs_open", ("image", "starter", "free", "queued")] == 1
    assert found["tenkaigen_jobs_open", ("image", "starter", "free", "processing")] == 1
    assert found["tenkaigen_queue_length", ()] == 1
    assert 90 <= found["tenkaigen_oldest_waiting_seconds", ("image", "starter")] < 150
    assert found["tenkaigen_images_total", ("starter",)] == 3
    assert found["tenkaigen_device_seconds_total", ("image", "starter")] == 2.5
    completed = Job.objects.get(status="completed")
    assert found["tenkaigen_credits_charged_total", ("image", "starter", "free")] == completed.charged_centi / 100
    open_centi = sum(job.quoted_centi for job in Job.objects.filter(status__in=transitions.OPEN))
    assert found["tenkaigen_credits_held", ()] == open_centi / 100
    assert found["tenkaigen_credits_available", ()] == (20_000 - completed.charged_centi - open_centi) / 100


def test_plans_are_told_apart_and_the_oldest_job_is_the_oldest_of_all_plans(token):
    user = make_user(credits=200)
    make_job(user)
    plans.subscribe(team=team_of(user), plan=Plan.objects.get(slug="pro"), actor="x")
    young = make_job(user)
    Job.objects.exclude(id=young.id).update(created_at=Now() - timedelta(seconds=90))
    deliver(make_job(user))
    found = scrape(token)
    assert [found["tenkaigen_jobs_open", ("image", "starter", plan, "queued")] for plan in ("free", "pro")] == [1, 1]
    assert found["tenkaigen_jobs_ended_total", ("image", "starter", "pro", "completed")] == 1
    assert 90 <= found["tenkaigen_oldest_waiting_seconds", ("image", "starter")] < 150


def test_the_days_before_are_remembered_and_not_lost(token):
    user = make_user(credits=200)
    for _ in range(3):
        deliver(make_job(user))
    old, recent, _ = Job.objects.all()
    Job.objects.filter(id=old.id).update(finished_at=Now() - timedelta(days=9))
    Job.objects.filter(id=recent.id).update(finished_at=Now() - timedelta(days=1, hours=2))
    key = ("tenkaigen_jobs_ended_total", ("image", "starter", "free", "completed"))
    assert scrape(token)[key] == 3
    deliver(make_job(user))
    assert scrape(token)[key] == 4  # the first two from the cache, the others counted


def test_jobs_of_one_batch_share_the_device(token):
    user = make_user(credits=200)
    first, second, alone = make_job(user), make_job(user), make_job(user)
    for job in (first, second, alone):
        deliver(job)
    Job.objects.filter(id__in=[first.id, second.id]).update(worker="gpu", claimed_at=Now(), device_ms=4000)
    Job.objects.filter(id=alone.id).update(worker="gpu", device_ms=1000)
    assert scrape(token)["tenkaigen_device_seconds_total", ("image", "starter")] == 5


def test_alarms_of_any_process_are_found(token):
    alarms.ring("hold_without_job", hold="x")
    alarms.ring("hold_without_job", hold="y")
    alarms.ring("model_unavailable")
    found = scrape(token)
    assert found["tenkaigen_alarms_total", ("hold_without_job",)] == 2
    assert found["tenkaigen_alarms_total", ("model_unavailable",)] == 1


def test_an_alarm_rings_without_a_database(monkeypatch, caplog):
    def fail(*args):
        raise DatabaseError

    monkeypatch.setattr(counts, "add", fail)
    alarms.ring("hold_without_job", hold="x")
    assert "hold_without_job" in caplog.text and not DayCount.objects.exists()


def test_workers_are_those_that_live(token):
    events.worker_is_here("a", state="busy", models=["starter", "sdxl"])
    events.worker_is_here("b", state="idle", models=["starter"])
    found = scrape(token)
    assert [found["tenkaigen_workers", (state,)] for state in ("loading", "idle", "busy")] == [0, 1, 1]
    assert found["tenkaigen_workers_serving", ("starter",)] == 2
    assert found["tenkaigen_redis_up", ()] == 1


def test_without_redis_nothing_is_said_of_workers(token, monkeypatch):
    monkeypatch.setattr(events, "workers", lambda: None)
    found = scrape(token)
    assert found["tenkaigen_redis_up", ()] == 0
    assert not [name for name, _ in found if name.startswith("tenkaigen_workers")]


def test_a_scrape_costs_a_handful_of_statements(token):
    user = make_user(credits=200)
    for _ in range(3):
        deliver(make_job(user))
        make_job(user)
    scrape(token)
    with CaptureQueriesContext(connection) as queries:
        scrape(token)
    assert len(queries) == 5
