"""Workers and people at the same moment: a plan's limit holds, a job is drawn once, and charged or refunded."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Barrier, Event, Lock
from time import sleep

import pytest
from django.db import connection, transaction
from django.test import Client

from credits.audit import find_drift
from credits.queries import balance_of
from generation import services, slots, transitions
from generation.models import Image, Job, TeamSlot
from tests.factories import allow, make_job, make_user, team_of
from tests.integration.program import Program
from tests.races.test_wallet_races import deadlocks

TRIES = 300
pytestmark = pytest.mark.usefixtures("catalogue", "bell")


def claim(images_max: Callable[[Job], int] = lambda job: 1, worker: str = "w") -> list[Job]:
    return transitions.claim(worker=worker, models=["starter"], images_max=images_max)


def picture(job: Job) -> Image:
    base = f"ai-generated/{job.user_id}/{job.id}.{job.fence}"
    return Image(
        job=job, team_id=job.team_id, index=0, seed=job.seed, key=base, preview_key=base, thumbnail_key=base,
        width=256, height=256, size_bytes=10, sha256="0" * 64,
    )  # fmt: skip


def test_a_plan_of_one_at_a_time_runs_one_in_every_try(run_together):
    user, before = make_user(credits=100), deadlocks()
    make_job(user), make_job(user)
    claimed: list[list[Job]] = [[] for _ in range(TRIES)]
    together = Barrier(2)

    def race():
        for number in range(TRIES):
            together.wait(timeout=30)
            jobs = claim()
            claimed[number] += jobs
            together.wait(timeout=30)
            for job in jobs:
                assert transitions.release(job)

    assert run_together([race, race]) == [None, None]
    assert Counter(len(jobs) for jobs in claimed) == {1: TRIES}
    assert deadlocks() == before


def test_without_the_slots_lock_two_run_at_once(run_together, monkeypatch):
    """The twin: both have counted before either writes, and a plan of one at a time runs two."""
    user = make_user(credits=100)
    make_job(user), make_job(user)
    monkeypatch.setattr(slots, "lock_clause", lambda: "")
    together = Barrier(2)

    def after_counting(job):
        together.wait(timeout=30)
        return 1

    results = run_together([partial(claim, after_counting)] * 2)
    assert [len(jobs) for jobs in results] == [1, 1]
    assert Job.objects.filter(status="processing").count() == 2


def test_eight_workers_empty_the_line_and_no_team_runs_more_than_its_plan(run_together):
    before, limits = deadlocks(), {}
    for jobs_max in (1, 2, 3, 1):
        user = make_user(credits=100)
        allow(user, jobs_max)
        limits[team_of(user).pk] = jobs_max
        for _ in range(8):
            make_job(user)
    drawn: Counter[object] = Counter()
    running: Counter[object] = Counter()
    most: Counter[object] = Counter()
    guard = Lock()

    def work():
        misses = 0
        while misses < 30:
            jobs = claim(lambda job: 3)
            misses = 0 if jobs else misses + 1
            with guard:
                for job in jobs:
                    drawn[job.pk] += 1
                    running[job.team_id] += 1
                    most[job.team_id] = max(most[job.team_id], running[job.team_id])
            for job in jobs:
                with guard:
                    running[job.team_id] -= 1
                assert transitions.finish(job, [picture(job)])

    assert run_together([work] * 8) == [None] * 8
    assert len(drawn) == 32 and set(drawn.values()) == {1}
    assert all(most[team] <= limit for team, limit in limits.items())
    assert Job.objects.filter(status="completed").count() == 32
    assert deadlocks() == before and find_drift() == []


def test_a_job_that_comes_while_the_line_empties_is_not_forgotten(run_together):
    user, number_of_jobs = make_user(credits=1000), 40
    allow(user, 5)
    seen: set[object] = set()

    def submit():
        for _ in range(number_of_jobs):
            make_job(user)

    def work():
        misses = 0
        while len(seen) < number_of_jobs and misses < 500:
            jobs = claim()
            misses = 0 if jobs else misses + 1
            for job in jobs:
                seen.add(job.pk)
                transitions.cancel(job)

    assert run_together([submit, work, work]) == [None] * 3
    assert len(seen) == number_of_jobs  # and no sweep put the team back in line


def test_a_team_that_is_locked_for_a_moment_is_waited_for_and_not_overlooked(run_together):
    """A worker that found nothing would sleep until the next bell, with work in the line."""
    user = make_user(credits=100)
    make_job(user)
    is_locked = Event()

    def submit_elsewhere():
        with transaction.atomic():
            TeamSlot.objects.select_for_update().get(team=team_of(user))
            is_locked.set()
            sleep(0.3)

    def work():
        assert is_locked.wait(timeout=30)
        return len(claim())

    assert run_together([submit_elsewhere, work]) == [None, 1]


def finishing(job: Job) -> Callable[[], bool]:
    return lambda: transitions.finish(job, [picture(job)])


@pytest.mark.parametrize("attempt", range(12))
def test_cancel_against_completion_charges_or_refunds_never_both(run_together, attempt):
    user = make_user(credits=100)
    make_job(user)
    (job,) = claim()
    has_finished, has_canceled = run_together([finishing(job), lambda: transitions.cancel(job)])
    assert {has_finished, has_canceled} == {True, False}
    job.refresh_from_db()
    now = balance_of(team_of(user))
    assert (job.status, job.charged_centi, Image.objects.count(), now.available_centi, now.held_centi) == (
        ("completed", 600, 1, 9_400, 0) if has_finished else ("canceled", 0, 0, 10_000, 0)
    )
    assert find_drift() == []


def test_without_the_fence_a_canceled_job_is_delivered_for_nothing(monkeypatch):
    """The twin: what a worker writes after a cancel would stand, pictures delivered and nothing charged."""
    user = make_user(credits=100)
    make_job(user)
    (job,) = claim()
    services.cancel_job(job)
    monkeypatch.setattr(transitions, "_held", lambda job: Job.objects.filter(id=job.id))
    assert transitions.finish(job, [picture(job)])
    job.refresh_from_db()
    assert (job.status, job.charged_centi, Image.objects.count()) == ("completed", 0, 1)


def test_who_waits_too_long_for_a_job_is_told_to_try_again_and_changes_nothing(run_together):
    user = make_user(credits=100)
    job, browser, program = make_job(user), Client(), Program(user)
    browser.force_login(user)

    def impatient():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        return browser.post(f"/jobs/{job.id}/cancel"), program.delete(f"jobs/{job.id}")

    with transaction.atomic():
        Job.objects.select_for_update().get()
        ((page, answer),) = run_together([impatient])
    assert [(one.status_code, one.headers["Retry-After"]) for one in (page, answer)] == [(503, "1")] * 2
    assert "Try again in a moment." in page.content.decode() and answer.json()["code"] == "busy"
    assert Job.objects.get().status == "queued" and balance_of(team_of(user)).held_centi == 600
