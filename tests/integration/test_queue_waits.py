"""Why am I waiting: the place, the estimate and the reason, and the alarm when nobody will ever come."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from generation import events, queries, sweeper, transitions, waits
from generation.models import Job, ModelVersion
from generation.transitions import Failure, FailureKind
from generation.waits import Place, Service, explain
from tests.factories import allow, make_job, make_training_job, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
IDLE = {"state": "idle", "models": ["starter"]}
SERVED = Service([IDLE], {"starter": 2.0})


@pytest.fixture(autouse=True)
def no_alarm_yet():
    cache.clear()


@pytest.fixture
def job():
    return make_job(make_user(credits=100))


def claim(images_max=1) -> list[Job]:
    return transitions.claim(worker="w", models=["starter"], images_max=lambda job: images_max)


@pytest.mark.parametrize(
    ("place", "service", "reason"),
    [
        (Place(), SERVED, "You are next."),
        (Place(4, 6), SERVED, "4 ahead of you."),
        (Place(running=1, jobs_max=1), SERVED, "Your plan runs 1 at a time."),
        (Place(5, 5, 2, 2, running=3, jobs_max=3), SERVED, "Your plan runs 3 at a time, 2 more of yours come first."),
        (Place(), Service([{**IDLE, "state": "loading"}], {}), "The model is loading."),
        (
            Place(4, 4),
            Service([{**IDLE, "models": ["sd15"]}], {}),
            "No worker for Starter is running. Your place is kept.",
        ),
        (Place(), Service([], {}), "No worker for Starter is running. Your place is kept."),
        (Place(2, 2), Service(None, {}), "2 ahead of you."),  # Redis is away: nothing is said about workers
    ],
)
def test_the_reason_in_words(job, place, service, reason):
    wait = explain(job, place, service)
    assert (wait.reason, wait.position) == (reason, place.jobs_ahead + 1)


@pytest.mark.parametrize(
    ("place", "workers", "seconds"),
    [
        (Place(), 1, 2),
        (Place(4, 6), 1, 14),
        (Place(4, 6), 2, 7),
        (Place(4, 6, 4, 6, jobs_max=1), 2, 14),  # all of them ours, and our plan uses one worker of the two
        (Place(4, 6), 0, None),
    ],
)
def test_the_estimate_is_made_of_measured_speed(job, place, workers, seconds):
    assert explain(job, place, Service([IDLE] * workers, {"starter": 2.0})).seconds_left == seconds


def test_without_a_measured_speed_nothing_is_promised(job):
    assert explain(job, Place(), Service([IDLE], {"starter": None})).seconds_left is None


def test_a_back_off_says_how_long(job):
    (held,) = claim()
    transitions.fail(held, Failure("hiccup", "Oh.", FailureKind.RETRYABLE))
    Job.objects.update(run_after=timezone.now() + timedelta(seconds=40))
    job.refresh_from_db()
    wait = explain(job, Place(), SERVED)
    assert wait.reason in ("Trying again in 40 s after a hiccup.", "Trying again in 39 s after a hiccup.")
    assert wait.seconds_left in (39, 40)
    job.run_after = timezone.now()
    assert explain(job, Place(), SERVED).reason == "Trying again after a hiccup."


def test_the_place_counted_for_one_is_the_place_told_to_all(django_assert_num_queries):
    users = [make_user(credits=10_000) for _ in range(5)]
    for number, user in enumerate(users):
        allow(user, 2)
        for _ in range(number + 1):
            make_job(user, count=1 + number % 2)
    claim(images_max=2)
    with django_assert_num_queries(1):
        line = waits.line(500)
    assert [place.jobs_ahead for _, place in line] == list(range(len(line))) and len(line) == 14
    for job, told in line:
        assert waits.place_of(job) == told


def test_the_line_moves_as_it_was_told():
    users = [make_user(credits=10_000) for _ in range(4)]
    for number, user in enumerate(users):
        allow(user, 1, queue_priority=10 * (number == 2))
        for _ in range(3):
            make_job(user)
    told = [job for job, _ in waits.line(500)]
    drawn = []
    while jobs := claim():
        drawn += jobs
        transitions.cancel(jobs[0])
    assert drawn == told


def test_a_sweep_tells_no_more_than_it_knows(monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(sweeper, "POSITIONS_MAX", 6)
    flooder, other = make_user(credits=10_000), make_user(credits=1000)
    allow(flooder, 2)
    flood = [make_job(flooder) for _ in range(8)]
    second = make_job(other)
    events.worker_is_here("w", state="idle", models=["starter"])
    with django_assert_max_num_queries(2):
        sweeper.tell_positions()
    # Three of each team were read: where the flood's own line ends, the rest would be a guess.
    assert [events.progress_of(job.id).position for job in (*flood[:3], second)] == [1, 3, 4, 2]
    assert [events.progress_of(job.id) for job in flood[3:]] == [None] * 5
    assert queries.progress_of(flood[7]).position == 9  # counted when somebody asks,
    assert events.progress_of(flood[7].id).position == 9  # and once for all who look


def test_deep_in_the_line_a_place_is_a_lower_bound_and_cheap(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(waits, "TURNS_MAX", 2)
    flooder, other = make_user(credits=10_000), make_user(credits=10_000)
    allow(flooder, 2), allow(other, 2)
    for _ in range(5):
        make_job(flooder)
    mine = [make_job(other) for _ in range(5)]
    with django_assert_num_queries(1):
        assert waits.place_of(mine[4]).jobs_ahead == 4 + 2


def test_who_draws_without_adapters_serves_no_model_of_a_teams_own(job, django_assert_num_queries):
    """A remote provider claims no such job, so it must not be what its person is told to wait for."""
    version = ModelVersion.objects.get(job=make_training_job(job.user, pictures=1))
    transitions.cancel(version.job)
    events.worker_is_here("remote:fal", state="idle", models=["starter"], has_adapters=False)
    own = make_job(job.user)
    Job.objects.filter(id=own.id).update(model_version=version)
    own.refresh_from_db()
    serving = waits.service_of([job])
    assert len(serving.serving(job)) == 1 and serving.serving(own) == []
    assert "No worker for Starter is running" in waits.wait_of(own).reason
    line = [placed for placed, _ in waits.line(10)]
    with django_assert_num_queries(0):  # what decides was read with the line
        assert [len(serving.serving(placed)) for placed in line] == [1, 0]


def test_nobody_for_a_model_alarms_once_an_interval(job, caplog, settings):
    events.worker_is_here("w", state="idle", models=["sd15"])
    sweeper.tell_positions()
    assert "no_worker_for_model" not in caplog.text  # it may just be starting again
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    for _ in range(3):
        sweeper.tell_positions()
    assert caplog.text.count("no_worker_for_model") == 1
    cache.clear()  # the interval is over
    events.worker_is_here("w", state="idle", models=["starter"])
    sweeper.tell_positions()
    assert caplog.text.count("no_worker_for_model") == 1
