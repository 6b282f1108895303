"""A process dies inside the ledger: nothing of its act is left, and the same act again has the right end."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.models.functions import Now

from credits import ledger
from credits.audit import find_drift
from credits.models import Entry, Grant, Hold, Wallet
from credits.pricing import Quote
from generation.models import Job
from tenkaigen.failpoints import arm
from tests.factories import give, make_job, make_user, team_of
from tests.races.ledger import calling, patient, wait_for_waiting

FIVE = Quote(100, 5)


@pytest.fixture(autouse=True)
def committed(transactional_db):
    """Another process sees what a test makes, and waits for a lock until it is killed."""
    with patient():
        yield


@pytest.fixture
def team():
    return team_of(make_user(credits=10))


def begin(act: Callable[[], object], failpoints: str = "") -> int:
    """Do it in a process of its own; its id."""
    connections.close_all()  # a connection in two processes is none
    if child := os.fork():
        return child
    try:
        arm(failpoints)
        act()
    finally:
        os._exit(0)


def how_it_ended(child: int) -> int:
    return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dies(act: Callable[[], object], failpoint: str) -> None:
    assert how_it_ended(begin(act, f"{failpoint}=kill")) == signal.SIGKILL


def dies_while_it_waits(act: Callable[[], object], team) -> None:
    """Killed between its first row and its entries: the rows of the grants are somebody else's until it is dead."""
    ready, go = os.pipe()
    child = begin(lambda: os.read(ready, 1) and act())
    try:
        with transaction.atomic():
            list(Grant.objects.select_for_update(of=("self",)).filter(wallet__team=team))
            os.write(go, b"!")
            wait_for_waiting(1)
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(go)  # whatever happened, the child goes on and ends
        os.close(ready)
        how_it_ended(child)


def state(team) -> tuple[int, int, int]:
    """Available, held and the number of entries; after an audit."""
    assert find_drift() == []
    wallet = Wallet.objects.get(team=team)
    return wallet.available_centi, wallet.held_centi, wallet.seq


def reserving(team):
    return calling(ledger.reserve, team_id=team.pk, quote=FIVE, reference="job-1")


def settling(team, delivered=3):
    return calling(ledger.settle, team_id=team.pk, reference="job-1", delivered=delivered)


def test_a_reserve_that_dies_before_its_commit_never_was(team):
    dies(reserving(team), "reserve.after_entries")
    assert state(team) == (1000, 0, 1) and not Hold.objects.exists()
    hold = reserving(team)()
    assert reserving(team)().pk == hold.pk
    assert state(team) == (500, 500, 2)


def test_a_settle_that_dies_before_its_commit_never_was(team):
    reserving(team)()
    dies(settling(team), "settle.after_entries")
    assert state(team) == (500, 500, 2) and Hold.objects.get().state == Hold.State.PENDING
    assert settling(team)() == ledger.Receipt(300, 200, is_new=True)
    assert settling(team)() == ledger.Receipt(300, 200, is_new=False)
    assert state(team) == (700, 0, 4)


def test_the_sweep_ends_what_a_dead_settle_left(team):
    reserving(team)()
    dies(settling(team), "settle.after_entries")
    assert calling(ledger.lapse, team_id=team.pk, reference="job-1")()
    assert state(team) == (1000, 0, 3)


def test_a_reserve_that_dies_between_hold_and_entries_never_was(team):
    dies_while_it_waits(reserving(team), team)
    assert state(team) == (1000, 0, 1) and not Hold.objects.exists()
    reserving(team)()
    assert state(team) == (500, 500, 2)


def test_a_settle_that_dies_between_the_end_and_the_entries_never_was(team):
    reserving(team)()
    dies_while_it_waits(settling(team), team)
    assert state(team) == (500, 500, 2) and Hold.objects.get().state == Hold.State.PENDING
    assert settling(team)().is_new
    assert state(team) == (700, 0, 4)


def test_a_grant_that_dies_between_its_row_and_its_entry_never_was(team):
    granting = calling(ledger.grant, team_id=team.pk, amount_centi=700, source="purchase", source_ref="pi_1")
    dies(granting, "grant.before_entries")
    assert state(team) == (1000, 0, 1) and Grant.objects.count() == 1
    assert granting().is_new and not granting().is_new
    assert state(team) == (1700, 0, 2)


def test_an_expiry_that_dies_in_the_middle_is_done_again_once(team):
    for _ in range(3):
        give(team, 100, expires_at=None)
    Grant.objects.filter(granted_centi=100).update(effective_at=Now() - timedelta(days=2), expires_at=Now())
    expiring = calling(ledger.expire, team_id=team.pk)
    dies(expiring, "expire.before_entries")
    assert state(team) == (1300, 0, 4)
    assert [expiring(), expiring()] == [300, 0]
    assert state(team) == (1000, 0, 7)


def test_a_submit_that_dies_after_its_commit_has_its_job_and_its_hold_once(catalogue):
    user = make_user(credits=100)
    team = team_of(user)
    dies(lambda: make_job(user, request_key="k1"), "submit.after_commit")
    job = Job.objects.get()
    assert job.status == Job.Status.QUEUED and state(team) == (9_400, 600, 2)
    assert make_job(user, request_key="k1").pk == job.pk
    assert state(team) == (9_400, 600, 2) and Entry.objects.count() == 2
