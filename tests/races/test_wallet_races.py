from threading import Barrier

import pytest
from django.db import connection, transaction

from credits import ledger
from credits.audit import find_drift
from credits.errors import InsufficientCredits
from credits.ledger import holds
from credits.models import Hold, Wallet
from credits.pricing import Quote
from credits.queries import balance_of
from tests.factories import make_user, team_of

ONE = Quote(unit_centi=100, count=1)


def reserving(team, reference):
    def call():
        with transaction.atomic():
            return ledger.reserve(team_id=team.pk, quote=ONE, reference=reference)

    return call


def settling(team, reference, delivered):
    def call():
        with transaction.atomic():
            return ledger.settle(team_id=team.pk, reference=reference, delivered=delivered)

    return call


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_twenty_reserves_on_a_wallet_for_five(run_together):
    team, before = team_of(make_user(credits=5)), deadlocks()
    results = run_together([reserving(team, f"job-{number}") for number in range(20)])
    assert sum(isinstance(result, Hold) for result in results) == 5
    assert sum(isinstance(result, InsufficientCredits) for result in results) == 15
    now = balance_of(team)
    assert (now.available_centi, now.held_centi) == (0, 500)
    assert find_drift() == [] and deadlocks() == before


def test_the_race_is_real_without_the_lock(run_together, monkeypatch):
    """The twin: take the lock away, and the ledger shows the damage. Else the test above would prove nothing."""
    team = team_of(make_user(credits=5))
    barrier = Barrier(5)

    def unlocked(team_id):
        wallet = Wallet.objects.get(team_id=team_id)
        barrier.wait(timeout=30)  # everyone has read before anyone writes
        return wallet

    monkeypatch.setattr(holds, "lock_wallet", unlocked)
    results = run_together([reserving(team, f"job-{number}") for number in range(5)])
    assert any(isinstance(result, Exception) for result in results) or find_drift()


def test_one_reference_from_ten_threads_is_one_hold(run_together):
    team = team_of(make_user(credits=5))
    results = run_together([reserving(team, "job-1") for _ in range(10)])
    assert len({hold.pk for hold in results}) == 1
    assert balance_of(team).held_centi == 100


@pytest.mark.parametrize("attempt", range(5))
def test_charge_and_refund_of_one_hold_never_both(run_together, attempt):
    team = team_of(make_user(credits=5))
    reserving(team, "job-1")()
    receipts = run_together([settling(team, "job-1", delivered) for delivered in (1, 0, 1, 0, 1, 0)])
    assert sum(receipt.is_new for receipt in receipts) == 1
    assert len({receipt.charged_centi for receipt in receipts}) == 1
    assert balance_of(team).available_centi + receipts[0].charged_centi == 500
    assert find_drift() == []
