from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from credits.audit import find_drift
from credits.queries import balance_of
from generation import sweeper, transitions
from generation.models import Image, Job
from generation.transitions import Failure, FailureKind
from tests.factories import allow, make_job, make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
HICCUP = Failure("hiccup", "Something went wrong.", FailureKind.RETRYABLE)
FINAL = Failure("final", "It cannot be done.")


def claim(images_max=4, worker="w1") -> list[Job]:
    return transitions.claim(worker=worker, models=["starter"], images_max=lambda job: images_max)


def picture(job: Job, index=0) -> Image:
    base = f"ai-generated/{job.user_id}/{job.id}.{job.fence}-{index}"
    return Image(
        job=job, team_id=job.team_id, index=index, seed=job.seed, key=base, preview_key=base, thumbnail_key=base,
        width=256, height=256, size_bytes=10, sha256="0" * 64,
    )  # fmt: skip


def lose_lease(job: Job) -> None:
    Job.objects.filter(id=job.id).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_a_claim_takes_the_oldest_and_leases_it():
    user = make_user(credits=100)
    allow(user, 2)
    first, second = make_job(user), make_job(user)
    (job,) = claim(images_max=1)
    assert job.id == first.id
    assert (job.status, job.attempts, job.fence, job.worker) == ("processing", 1, 1, "w1")
    assert job.lease_until > timezone.now()
    assert [other.id for other in claim(images_max=1)] == [second.id]
    assert claim() == []


def test_a_batch_holds_only_jobs_of_one_shape_and_what_fits():
    user = make_user(credits=100)
    allow(user, 5)
    first = make_job(user, count=2)
    make_job(user, size="512x512")
    make_job(user, num_inference_steps=3)
    make_job(user, count=3)
    mate = make_job(user, count=1, prompt="another")
    assert [job.id for job in claim(images_max=4)] == [first.id, mate.id]


def test_only_models_this_worker_serves_are_claimed():
    make_job(make_user(credits=100))
    assert transitions.claim(worker="w", models=["sd15"], images_max=lambda job: 4) == []


def test_finish_charges_for_what_is_delivered():
    user = make_user(credits=100)
    make_job(user, count=3)
    (job,) = claim()
    assert transitions.finish(job, [picture(job, 0), picture(job, 2)], blocked=[{"index": 1}])
    job.refresh_from_db()
    assert (job.status, job.charged_centi, job.lease_until) == ("completed", 1200, None)
    assert job.processing_ms is not None and job.stored_bytes == 20 and job.metadata == {"blocked": [{"index": 1}]}
    assert balance_of(team_of(user)).available_centi == 10_000 - 1200
    expires = Image.objects.first().expires_at
    assert timedelta(days=89) < expires - timezone.now() < timedelta(days=91)
    assert find_drift() == []


def test_a_worker_that_lost_its_lease_writes_nothing():
    user = make_user(credits=100)
    make_job(user)
    (late,) = claim()
    lose_lease(late)
    assert sweeper.recover_lost_jobs() == 1
    (winner,) = claim(worker="w2")
    assert winner.fence == 3 and winner.attempts == 2
    assert not transitions.finish(late, [picture(late)])
    assert not transitions.fail(late, FINAL)
    assert not transitions.release(late)
    assert transitions.heartbeat([(late.id, late.fence)]) == set()
    assert transitions.finish(winner, [picture(winner)])
    assert Image.objects.count() == 1
    assert balance_of(team_of(user)).available_centi == 10_000 - 600


def test_a_lost_lease_queues_without_delay_and_a_failure_with_one(settings):
    user = make_user(credits=100)
    make_job(user)
    (job,) = claim()
    lose_lease(job)
    sweeper.recover_lost_jobs()
    (job,) = claim()
    assert transitions.fail(job, HICCUP)
    job.refresh_from_db()
    assert job.status == "queued" and job.run_after > timezone.now() + timedelta(seconds=4)
    assert claim() == []


def test_after_three_lost_workers_the_job_fails_and_is_refunded():
    user = make_user(credits=100)
    job = make_job(user)
    for _ in range(3):
        (held,) = claim()
        lose_lease(held)
        assert sweeper.recover_lost_jobs() == 1
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.attempts) == ("failed", "worker_lost", 3)
    assert balance_of(team_of(user)).available_centi == 10_000
    assert claim() == []


def test_a_released_job_does_not_count_the_attempt():
    make_job(make_user(credits=100))
    (job,) = claim()
    assert transitions.release(job)
    job.refresh_from_db()
    assert (job.status, job.attempts, job.fence) == ("queued", 0, 2)
    (again,) = claim()
    assert (again.attempts, again.fence) == (1, 3)


def test_cancel_wins_over_a_late_finish():
    user = make_user(credits=100)
    make_job(user)
    (job,) = claim()
    assert transitions.cancel(job)
    assert not transitions.finish(job, [picture(job)])
    assert not Image.objects.exists()
    assert balance_of(team_of(user)).available_centi == 10_000


def test_a_final_failure_refunds_and_says_why():
    user = make_user(credits=100)
    job = make_job(user)
    (held,) = claim()
    assert transitions.fail(held, FINAL)
    job.refresh_from_db()
    assert (job.status, job.failure, job.failure_code) == ("failed", "It cannot be done.", "final")
    assert balance_of(team_of(user)).available_centi == 10_000


@pytest.mark.parametrize(
    ("constraint", "columns"),
    [
        ("job_leased_only_while_processing", {"lease_until": timezone.now()}),
        ("job_has_an_end_when_it_is_over", {"status": "failed"}),
        ("job_charges_only_when_completed", {"charged_centi": 1}),
        ("job_fence_rises_with_every_attempt", {"attempts": 5}),
        ("job_asks_for_some_images", {"count": 0}),
    ],
)
def test_the_database_refuses_what_must_not_be(constraint, columns):
    job = make_job(make_user(credits=100))
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Job.objects.filter(id=job.id).update(**columns)


def test_a_hold_without_a_living_job_is_released_and_alarms(caplog):
    user = make_user(credits=100)
    job = make_job(user)
    from credits.models import Hold

    def deadline_comes():
        Hold.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    deadline_comes()
    assert sweeper.release_orphaned_holds() == 0  # its job still waits
    assert Hold.objects.get().expires_at > timezone.now()
    deadline_comes()
    Job.objects.filter(id=job.id).update(status="canceled", finished_at=timezone.now())  # by hand, past the ledger
    assert sweeper.release_orphaned_holds() == 1
    assert "hold_without_job" in caplog.text
    assert balance_of(team_of(user)).available_centi == 10_000
