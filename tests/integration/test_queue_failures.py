"""What follows a failed attempt: again later, again smaller, never, or never and somebody looks at it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from credits.audit import find_drift
from credits.models import Hold
from credits.queries import balance_of
from generation import sweeper, transitions
from generation.models import Job
from generation.transitions import LOST_TOO_OFTEN, Failure, FailureKind
from tenkaigen.errors import Busy
from tests.factories import allow, make_job, make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
HICCUP = Failure("hiccup", "Something went wrong.", FailureKind.RETRYABLE)
OUTAGE = Failure("storage", "It could not be stored.", FailureKind.OUTAGE)
FINAL = Failure("final", "It cannot be done.")
POISON = Failure("poison", "It breaks whatever draws it.", FailureKind.POISON)
TOO_LARGE = Failure("out_of_memory", "It does not fit.", FailureKind.OUT_OF_MEMORY, images=6)


@pytest.fixture
def user():
    made = make_user(credits=1000)
    allow(made, 8)
    return made


def claim(images_max=8) -> list[Job]:
    return transitions.claim(worker="w", models=["starter"], images_max=lambda job: images_max)


def fail(job: Job, failure: Failure) -> Job:
    assert transitions.fail(job, failure)
    job.refresh_from_db()
    return job


def assert_refunded(user) -> None:
    now = balance_of(team_of(user))
    assert (now.available_centi, now.held_centi) == (100_000, 0)
    assert find_drift() == []


def test_the_back_off_grows_and_never_all_at_once(user, settings):
    settings.JOB_ATTEMPTS_MAX = 10
    make_job(user)
    pauses = []
    for base in (5, 10, 20, 40, 80, 160, 300, 300):  # seconds, up to RETRY_SECONDS_MAX
        (job,) = claim()
        before = timezone.now()
        pause = (fail(job, HICCUP).run_after - before).total_seconds()
        assert 0.8 * base <= pause <= 1.2 * base + 1
        assert claim() == []
        pauses.append(pause / base)
        Job.objects.update(run_after=timezone.now())
    assert (
        len({round(pause, 4) for pause in pauses}) > 4
    )  # jitter: those that failed together do not come back together


def test_five_minutes_without_a_store_are_outlived(user):
    make_job(user)
    pauses = []
    for _ in range(2):
        (job,) = claim()
        before = timezone.now()
        pauses.append((fail(job, OUTAGE).run_after - before).total_seconds())
        Job.objects.update(run_after=timezone.now())
    assert 30 <= pauses[0] <= 37 and 300 <= pauses[1] <= 361
    (job,) = claim()
    assert (fail(job, OUTAGE).status, job.is_quarantined) == ("failed", True)
    assert_refunded(user)


def test_after_the_last_attempt_it_fails_is_refunded_and_staff_look_at_it(user):
    job = make_job(user)
    for attempt in (1, 2, 3):
        Job.objects.update(run_after=timezone.now())
        (held,) = claim()
        assert held.attempts == attempt
        fail(held, HICCUP)
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.is_quarantined) == ("failed", "hiccup", True)
    assert_refunded(user)
    assert claim() == []


def test_a_final_failure_is_no_riddle_and_poison_is(user):
    make_job(user)
    (job,) = claim()
    job = fail(job, FINAL)
    assert (job.status, job.attempts, job.is_quarantined) == ("failed", 1, False)
    make_job(user)
    (job,) = claim()
    job = fail(job, POISON)
    assert (job.status, job.attempts, job.is_quarantined) == ("failed", 1, True)
    assert_refunded(user)


def test_what_did_not_fit_comes_back_at_once_in_half_the_batch(user):
    first, *others = [make_job(user, count=2) for _ in range(3)]
    batch = claim()
    assert len(batch) == 3
    for job in batch:
        fail(job, TOO_LARGE)
    assert Job.objects.filter(status="queued", batch_max=3).count() == 3
    fresh = make_job(user, count=1)
    # Each may have three images in its run. The fresh one may join the first; those that were too large may not.
    assert claim() == [first, fresh]
    assert claim() == others[:1]
    assert claim() == others[1:]


def test_what_does_not_fit_in_half_the_batch_either_has_failed(user):
    make_job(user, count=4)
    (job,) = claim()
    assert fail(job, replace(TOO_LARGE, images=0)).batch_max == 2
    (job,) = claim()
    job = fail(job, TOO_LARGE)
    assert (job.status, job.attempts, job.is_quarantined) == ("failed", 2, True)
    assert_refunded(user)


def test_a_job_of_one_image_is_tried_by_itself(user):
    make_job(user)
    (job,) = claim()
    assert fail(job, replace(TOO_LARGE, images=1)).batch_max == 1


def test_a_job_that_lost_its_worker_keeps_its_place_and_a_failed_one_does_not(user):
    lost, failing, fresh = make_job(user), make_job(user), make_job(user)
    batch = claim(images_max=2)
    assert batch == [lost, failing]
    Job.objects.filter(id=lost.id).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert sweeper.recover_lost_jobs() == 1
    fail(batch[1], HICCUP)
    Job.objects.filter(id=failing.id).update(run_after=timezone.now())
    assert [claim(images_max=1)[0].id for _ in range(3)] == [lost.id, fresh.id, failing.id]


def test_a_worker_lost_three_times_makes_an_alarm(user, caplog):
    job = make_job(user)
    for _ in range(3):
        claim()
        Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert sweeper.recover_lost_jobs() == 1
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.is_quarantined) == ("failed", LOST_TOO_OFTEN.code, True)
    assert caplog.text.count("job_failed_for_good") == 1
    assert_refunded(user)


@pytest.mark.parametrize(
    ("error", "alarms"),
    [(Busy("Its wallet is locked."), 0), (Hold.DoesNotExist("somebody changed rows by hand"), 1)],
)
def test_one_job_that_cannot_be_recovered_now_does_not_keep_the_others_waiting(
    user, monkeypatch, caplog, error, alarms
):
    cache.clear()
    stuck, other = make_job(user), make_job(user)
    claim()
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    recover = transitions.recover

    def sometimes(job):
        if job.id == stuck.id:
            raise error
        return recover(job)

    monkeypatch.setattr(transitions, "recover", sometimes)
    assert [sweeper.recover_lost_jobs(), sweeper.recover_lost_jobs()] == [1, 0]
    assert caplog.text.count("job_cannot_be_recovered") == alarms  # not once a sweep
    assert [job.status for job in (Job.objects.get(id=stuck.id), Job.objects.get(id=other.id))] == [
        "processing", "queued",
    ]  # fmt: skip


@pytest.mark.parametrize("act", ["queued", "processing", "waiting for words", "in back-off"])
def test_cancel_gives_everything_back_in_every_state(user, act):
    job = make_job(user)
    if act in ("processing", "in back-off"):
        (job,) = claim()
    if act == "in back-off":
        job = fail(job, HICCUP)
    if act == "waiting for words":
        Job.objects.update(run_after=timezone.now() + timedelta(seconds=9))
    assert transitions.cancel(job)
    assert not transitions.cancel(job)
    assert_refunded(user)


@pytest.mark.parametrize("end", ["completed", "failed", "canceled"])
def test_there_is_nothing_to_cancel_of_what_is_over(user, end):
    job = make_job(user)
    Job.objects.update(status=end, finished_at=timezone.now())
    assert not transitions.cancel(job)
    job.refresh_from_db()
    assert job.status == end


def test_staff_find_what_needs_a_look_and_take_it_off_the_list(admin_client, user):
    job, other = make_job(user), make_job(user)
    for held in claim():
        fail(held, POISON if held == job else FINAL)
    page = admin_client.get("/admin/generation/job/?is_quarantined__exact=1").content.decode()
    assert str(job.id)[:8] in page and str(other.id)[:8] not in page
    answer = admin_client.post(
        "/admin/generation/job/", {"action": "looked_at", "_selected_action": [str(job.id)]}, follow=True
    )
    assert answer.status_code == 200
    job.refresh_from_db()
    assert (job.status, job.is_quarantined) == ("failed", False)
