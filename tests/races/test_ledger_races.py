"""Different acts at one wallet at the same moment: ends and sweeps, grants, clawbacks, and time itself."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection, transaction

from credits import ledger, passes
from credits.audit import find_drift
from credits.clock import now
from credits.errors import InsufficientCredits, WalletFrozen
from credits.locks import lock_wallet
from credits.models import Clawback, Grant, Hold, Pass, PassProduct, Wallet
from credits.queries import balance_of
from tenkaigen.errors import Busy
from tests.factories import give, make_user, team_of
from tests.integration.program import Program
from tests.races.ledger import ONE, calling, deadlocks, lapsing, reserving, settling, unlocked, wait_for_waiting

BY = {"actor": "staff:ana@example.com", "reason": "a refund"}


@pytest.fixture
def team():
    return team_of(make_user(credits=5))


def bucket(team) -> tuple[int, int, int]:
    wallet = Wallet.objects.get(team=team)
    assert find_drift() == []
    return wallet.available_centi, wallet.held_centi, wallet.debt_centi


@pytest.mark.parametrize("attempt", range(5))
def test_cancel_finish_and_sweep_end_a_hold_once(run_together, team, attempt):
    reserving(team, "job-1")()
    finish, cancel, sweep = settling(team, "job-1", 1), settling(team, "job-1", 0), lapsing(team, "job-1")
    results = run_together([finish, cancel, sweep, finish, cancel, sweep])
    state = Hold.objects.get(reference="job-1").state
    charged = {result.charged_centi for result in results[0::3]}  # what those who delivered were told
    assert len(charged) == 1
    # Swept first: what was delivered is charged anew, under a hold of its own.
    assert Hold.objects.filter(reference="job-1:late").exists() == (state == Hold.State.EXPIRED)
    assert (state == Hold.State.EXPIRED) == any(results[2::3])
    assert bucket(team) == (500 - charged.pop(), 0, 0)


def test_a_finish_that_meets_the_sweep_waits_for_it_in_the_same_order(team):
    """The schedule by hand: the sweep has the wallet when the finish comes. In another order both would wait."""
    reserving(team, "job-1")()
    before = deadlocks()
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            lock_wallet(team.pk)
            finish = pool.submit(alone(settling(team, "job-1", 1)))
            wait_for_waiting(1)
            assert ledger.lapse(team_id=team.pk, reference="job-1")
        receipt = finish.result(timeout=30)
    assert (receipt.is_new, receipt.charged_centi) == (True, 100)  # late, and charged anew
    assert bucket(team) == (400, 0, 0)
    assert deadlocks() == before


def test_two_deliveries_of_one_grant(run_together, team):
    grants = run_together([granting(team, "pi_1") for _ in range(10)])
    assert len({grant.pk for grant in grants}) == 1
    assert sum(grant.is_new for grant in grants) == 1
    assert bucket(team) == (1500, 0, 0)


def test_grants_without_the_lock_lose_each_other(run_together, team):
    """The twin: each writes the balance that it read."""
    with unlocked():
        made = run_together([granting(team, f"pi_{number}") for number in range(20)])
    assert any(isinstance(grant, Exception) for grant in made) or find_drift()


def test_the_first_acts_of_a_new_team_make_one_wallet(run_together):
    newcomer = team_of(make_user())
    grants = [granting(newcomer, f"pi_{number}") for number in range(5)]
    results = run_together([*grants, *[reserving(newcomer, f"job-{number}") for number in range(5)]])
    assert Wallet.objects.filter(team=newcomer).count() == 1
    assert {type(result) for result in results} <= {Grant, Hold, InsufficientCredits}
    held = 100 * sum(isinstance(result, Hold) for result in results)
    assert bucket(newcomer) == (5000 - held, held, 0)


@pytest.mark.parametrize("attempt", range(3))
def test_a_clawback_meets_reserves(run_together, attempt):
    team = team_of(make_user())
    bought = give(team, 500, source="purchase")
    revoke = calling(ledger.revoke, team_id=team.pk, grant_id=bought.pk, amount_centi=500, reference="re_1", **BY)
    first = reserving(team, "job-0")()
    reserves = [reserving(team, f"job-{number}") for number in range(1, 5)]
    results = [first, *run_together([*reserves, revoke, revoke])]
    made = Clawback.objects.get()
    held = [result for result in results if isinstance(result, Hold)]
    assert made.owed_centi == 100 * len(held) and made.revoked_centi == 500 - made.owed_centi
    assert {type(result) for result in results} <= {Hold, Clawback, InsufficientCredits, WalletFrozen}
    assert bucket(team) == (0, made.owed_centi, made.owed_centi)
    run_together([settling(team, hold.reference, 0) for hold in held])
    assert bucket(team) == (0, 0, 0)  # what came back paid the debt


def test_reserves_meet_the_sweep_of_what_ends(run_together):
    team = team_of(make_user())
    give(team, 1000, expires_at=now() + timedelta(seconds=0.7))
    sweep = calling(ledger.expire, team_id=team.pk)
    reserves = [reserving(team, f"job-{number}") for number in range(6)]

    def later(call):
        def run():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.7)")
            return call()

        return run

    results = run_together([*reserves[:3], sweep, *map(later, [*reserves[3:], sweep])])
    held = 100 * sum(isinstance(result, Hold) for result in results)
    assert not any(isinstance(result, Exception) and not isinstance(result, InsufficientCredits) for result in results)
    calling(ledger.expire, team_id=team.pk)()
    assert bucket(team) == (0, held, 0)
    assert Grant.objects.get(wallet__team=team).expired_centi == 1000 - held


def test_who_waits_past_the_end_of_a_grant_does_not_get_it(team):
    """The moment that counts is the one under the lock, not the one at which the statement was sent."""
    Grant.objects.filter(wallet__team=team).update(expires_at=now() + timedelta(seconds=1.5))
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            lock_wallet(team.pk)
            waiter = pool.submit(alone(reserving(team, "job-1")))
            wait_for_waiting(1)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(1.6)")
        with pytest.raises(InsufficientCredits, match="you have 0"):
            waiter.result(timeout=30)
    assert balance_of(team).available_centi == 0
    assert bucket(team) == (500, 0, 0)  # until the sweep


def test_a_grant_that_comes_while_a_reserve_waits_counts(team):
    """The trap of one statement for both: it would go on with the grants it saw before it waited."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            lock_wallet(team.pk)
            ledger.take(team_id=team.pk, amount_centi=500, reference="taken", **BY)
            waiter = pool.submit(alone(reserving(team, "job-1")))
            wait_for_waiting(1)
            ledger.grant(team_id=team.pk, amount_centi=100, source="purchase", source_ref="pi_9")
        assert waiter.result(timeout=30).amount_centi == ONE.total_centi
    assert bucket(team) == (0, 100, 0)


def test_who_waits_too_long_is_told_to_try_again_and_moves_nothing(team):
    reserving(team, "job-1")()
    program = Program(team.members.get())
    flash = passes.issue(team=team, product=PassProduct.objects.first(), reference="sale-1", actor="x")
    acts = [
        reserving(team, "job-2"), settling(team, "job-1", 1), lapsing(team, "job-1"), granting(team, "pi_1"),
        calling(ledger.expire, team_id=team.pk), calling(ledger.freeze, team_id=team.pk, reason="x"),
        calling(ledger.take, team_id=team.pk, amount_centi=100, reference="taken", **BY),
    ]  # fmt: skip

    def impatient(*acts):
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        for act in acts:
            with pytest.raises(Busy, match=r"Try again in a moment\."):
                act()
        return program.post(f"passes/{flash.pk}/activate", {})

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        lock_wallet(team.pk)
        answer = pool.submit(alone(partial(impatient, *acts))).result(timeout=30)
    assert (answer.status_code, answer["Retry-After"], answer.json()["code"]) == (503, "1", "busy")
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Pass.objects.select_for_update().get()  # somebody else starts it
        answer = pool.submit(alone(impatient)).result(timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert bucket(team) == (400, 100, 0) and Pass.objects.get().grant is None


def granting(team, reference):
    return calling(ledger.grant, team_id=team.pk, amount_centi=1000, source="purchase", source_ref=reference)


def alone(call):
    """In a thread of its own, whose connection ends with it."""

    def run():
        try:
            return call()
        finally:
            connection.close()

    return run
