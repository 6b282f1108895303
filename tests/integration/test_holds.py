"""How long a hold lasts, and who is asked when its time is over."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from credits import holds, ledger
from credits.clock import now
from credits.models import Hold
from credits.pricing import Quote
from generation import sweeper
from generation.models import Job
from tests.factories import give, make_job, make_user, team_of
from tests.integration.test_ledger_bad_days import state

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("kind", "hours"), [("image", 1), ("creation", 6), ("refinement", 6)])
def test_the_deadline_of_a_hold_is_that_of_its_kind_of_job_also_when_it_goes_on(kind, hours):
    team = team_of(make_user())
    give(team, 600)
    with transaction.atomic():
        hold = ledger.reserve(team_id=team.pk, quote=Quote(600, 1, kind=kind), reference="job-1")
    hold.refresh_from_db()
    assert hold.expires_at - hold.created_at == timedelta(hours=hours)
    began = now()
    Hold.objects.update(expires_at=began)
    assert holds.sweep(set).extended == 1
    hold.refresh_from_db()
    assert timedelta(0) <= hold.expires_at - began - timedelta(hours=hours) < timedelta(minutes=1)


@pytest.mark.usefixtures("catalogue", "bell")
def test_the_sweep_asks_the_jobs_themselves(monkeypatch):
    rang = []
    monkeypatch.setattr("tenkaigen.alarms.ring", lambda name, **facts: rang.append((name, facts)))
    user = make_user(credits=100)
    waits, runs, gone = (make_job(user) for _ in range(3))
    Job.objects.filter(pk=runs.pk).update(status="processing", lease_until=now() + timedelta(hours=1))
    Job.objects.filter(pk=gone.pk).update(status="failed", finished_at=now())
    Hold.objects.update(expires_at=now())
    assert sweeper.release_orphaned_holds() == 1
    assert rang == [("hold_without_job", {"hold": str(gone.pk), "amount_centi": 600})]
    assert set(Hold.objects.filter(state="pending").values_list("reference", flat=True)) == {
        str(waits.pk), str(runs.pk),
    }  # fmt: skip
    assert state(team_of(user)) == (8_800, 1_200, 0)


@pytest.mark.usefixtures("catalogue", "bell")
def test_a_hold_that_the_database_will_not_let_go_keeps_no_other_and_no_sweep(monkeypatch, caplog):
    user, lapse = make_user(credits=100), ledger.lapse
    broken, _ = make_job(user), make_job(user)
    Job.objects.update(status="failed", finished_at=now())
    Hold.objects.update(expires_at=now())

    def refuse_one(*, team_id, reference):
        if reference == str(broken.pk):
            raise IntegrityError("wallet_never_negative")
        return lapse(team_id=team_id, reference=reference)

    monkeypatch.setattr(ledger, "lapse", refuse_one)
    assert sweeper.sweep().holds_released == 1
    assert list(Hold.objects.filter(state="pending").values_list("reference", flat=True)) == [str(broken.pk)]
    assert "hold_cannot_be_released" in caplog.text
