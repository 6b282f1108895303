"""A training that ends while somebody cancels it, or while its lease goes to another: one of the two, never both."""

import pytest
from django.db.models import F

from credits.audit import find_drift
from credits.queries import balance_of
from generation import services, transitions
from generation.models import CustomModel, Job, ModelVersion
from generation.versions import Adapter
from tenkaigen.errors import DomainError
from tests.factories import make_training_job, make_user, team_of

TRIES = 25
ADAPTER = Adapter("models/x/adapter.safetensors", "0" * 64, 72, "fake")
pytestmark = pytest.mark.usefixtures("catalogue", "bell")


def begun(user) -> Job:
    make_training_job(user, pictures=1)
    (job,) = transitions.claim(worker="t", models=["starter"], images_max=lambda job: 1, kinds=[Job.Kind.CREATION])
    return job


def outcome(user, job: Job) -> tuple[str, int, bool, bool]:
    """Status, what it cost, whether there is a version to draw with, whether people draw with it."""
    assert find_drift() == [] and balance_of(team_of(user)).held_centi == 0
    version, job = ModelVersion.objects.get(job=job), Job.objects.get(pk=job.pk)
    is_current = CustomModel.objects.filter(current=version).exists()
    return job.status, job.charged_centi, version.is_ready, is_current


def test_a_training_is_delivered_or_canceled_and_never_both(run_together):
    user, seen = make_user(credits=1000), []
    for _ in range(TRIES):
        job = begun(user)
        finished, canceled = run_together(
            [lambda: transitions.finish_training(job, ADAPTER, []), lambda: services.cancel_job(job)]  # noqa: B023
        )
        assert finished is isinstance(canceled, DomainError)
        seen.append(outcome(user, job))
    assert set(seen) <= {("completed", 700, True, True), ("canceled", 0, False, False)}
    charged = sum(cost for _, cost, _, _ in seen)
    assert balance_of(team_of(user)).available_centi == 100_000 - charged


def test_without_the_fence_a_canceled_training_is_delivered(monkeypatch):
    """The twin: who asks only for the job delivers what was refunded."""
    user = make_user(credits=100)
    job = begun(user)
    services.cancel_job(job)
    monkeypatch.setattr(transitions, "_held", lambda job: Job.objects.filter(id=job.id))
    assert transitions.finish_training(job, ADAPTER, [])
    assert outcome(user, job)[2:] == (True, True) and balance_of(team_of(user)).available_centi == 10_000


def test_a_checkpoint_is_written_before_the_lease_goes_or_not_at_all(run_together):
    user = make_user(credits=1000)
    for number in range(TRIES):
        job = begun(user)
        noted, released = run_together(
            [lambda: transitions.note_training(job, steps_done=5), lambda: transitions.release(job)]  # noqa: B023
        )
        assert released is True
        assert ModelVersion.objects.get(job=job).steps_done == (5 if noted else 0)
        assert not transitions.note_training(job, steps_done=99), number
        Job.objects.filter(pk=job.pk).update(fence=F("fence") + 1)
        services.cancel_job(Job.objects.get(pk=job.pk))
