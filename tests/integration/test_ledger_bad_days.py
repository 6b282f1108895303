"""The ledger on bad days: clawbacks, debts, freezes, late deliveries, odd amounts, and people who are gone."""

from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone

from accounts.models import Activity
from credits import holds, ledger, services
from credits.amounts import AMOUNT_CENTI_MAX
from credits.audit import find_drift
from credits.errors import InsufficientCredits, InvalidAmount, ReferenceTaken, UnknownTeam, WalletFrozen
from credits.models import Clawback, Entry, Grant, Hold, Uncollected, Wallet
from credits.pricing import Quote
from credits.queries import balance_of
from tests.factories import give, make_user, team_of

pytestmark = pytest.mark.django_db
BY = {"actor": "staff:ana@example.com", "reason": "a refund"}


@pytest.fixture
def team():
    return team_of(make_user())


@pytest.fixture
def alarms(monkeypatch) -> list[tuple[str, dict]]:
    rang: list[tuple[str, dict]] = []
    monkeypatch.setattr("tenkaigen.alarms.ring", lambda name, **facts: rang.append((name, facts)))
    return rang


@transaction.atomic
def reserve(team, count: int = 1, reference: str = "job-1") -> Hold:
    quote = Quote(600, count, facts={"width": 256, "height": 256, "quality": "standard"})
    return ledger.reserve(team_id=team.pk, quote=quote, reference=reference)


@transaction.atomic
def settle(team, delivered: int, reference: str = "job-1") -> ledger.Receipt:
    return ledger.settle(team_id=team.pk, reference=reference, delivered=delivered)


@transaction.atomic
def revoke(team, grant: Grant, amount_centi: int, reference: str = "re_1") -> Clawback:
    return ledger.revoke(team_id=team.pk, grant_id=grant.pk, amount_centi=amount_centi, reference=reference, **BY)


@transaction.atomic
def reinstate(team, reference: str = "re_1") -> Clawback:
    return ledger.reinstate(team_id=team.pk, reference=reference, **BY)


def state(team) -> tuple[int, int, int]:
    """Available, held, debt; after an audit."""
    assert find_drift() == []
    wallet = Wallet.objects.get(team=team)
    return wallet.available_centi, wallet.held_centi, wallet.debt_centi


def end_now(grant: Grant) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Grant.objects.filter(pk=grant.pk).update(effective_at=past - timedelta(days=1), expires_at=past)


# --- Clawbacks ------------------------------------------------------------------------------------------------------
def test_a_refund_takes_what_is_there_once(team):
    grant = give(team, 1000, source="purchase")
    made = revoke(team, grant, 400)
    assert (made.revoked_centi, made.owed_centi) == (400, 0)
    assert revoke(team, grant, 400).pk == made.pk
    assert state(team) == (600, 0, 0)


def test_what_was_spent_becomes_a_debt_that_the_next_grant_pays(team):
    grant = give(team, 1200, source="purchase")
    reserve(team)
    settle(team, delivered=1)
    made = revoke(team, grant, 1200)
    assert (made.revoked_centi, made.owed_centi) == (600, 600)
    assert state(team) == (0, 0, 600)
    with pytest.raises(WalletFrozen, match="6 credits to pay back"):
        reserve(team, reference="job-2")
    give(team, 500)
    assert state(team) == (0, 0, 100)
    give(team, 500)
    assert state(team) == (400, 0, 0)


def test_a_clawback_never_takes_more_than_the_grant_gave_nor_what_a_job_holds(team):
    grant = give(team, 1200, source="purchase")
    reserve(team)
    made = revoke(team, grant, 99_999)
    assert (made.revoked_centi, made.owed_centi) == (600, 600)
    assert state(team) == (0, 600, 600)
    more = revoke(team, grant, 99_999, "re_2")
    assert (more.revoked_centi, more.owed_centi) == (0, 0)
    settle(team, delivered=0)  # what comes back pays the debt
    assert state(team) == (0, 0, 0)


def test_other_credits_pay_a_debt_at_once(team):
    grant = give(team, 600, source="purchase")
    reserve(team)
    settle(team, delivered=1)
    give(team, 1000)
    revoke(team, grant, 600)
    assert state(team) == (400, 0, 0)


def test_a_won_dispute_gives_back_exactly_what_it_took(team):
    grant = give(team, 1200, source="purchase")
    reserve(team)
    settle(team, delivered=1)
    revoke(team, grant, 1200)
    reinstate(team)
    assert state(team) == (600, 0, 0)
    assert reinstate(team).undone_at is not None
    assert state(team) == (600, 0, 0)


def test_a_debt_that_was_paid_meanwhile_is_given_back(team):
    grant = give(team, 600, source="purchase")
    reserve(team)
    settle(team, delivered=1)
    revoke(team, grant, 600)
    give(team, 600)
    assert state(team) == (0, 0, 0)
    reinstate(team)
    assert state(team) == (600, 0, 0)


def test_what_was_taken_from_a_grant_that_has_ended_comes_back_without_an_end(team):
    grant = give(team, 1000, source="purchase", expires_at=timezone.now() + timedelta(days=1))
    revoke(team, grant, 1000)
    end_now(grant)
    reinstate(team)
    assert balance_of(team).available_centi == 1000
    assert Grant.objects.get(source_ref="reinstate:re_1").expires_at is None
    assert state(team) == (1000, 0, 0)


def test_a_reference_takes_from_one_grant_only(team):
    one, other = give(team, 100), give(team, 100)
    revoke(team, one, 100)
    with pytest.raises(ReferenceTaken):
        revoke(team, other, 100)
    with pytest.raises(Clawback.DoesNotExist):
        reinstate(team, "never")
    assert state(team) == (100, 0, 0)


def test_images_of_a_pass_are_taken_back_and_leave_no_debt(team):
    grant = give(team, 300, source="pass", covers_px=512, expires_at=timezone.now() + timedelta(hours=1))
    reserve(team)
    settle(team, delivered=1)
    made = revoke(team, grant, 300)
    assert (made.revoked_centi, made.owed_centi) == (200, 0)
    assert state(team) == (0, 0, 0)
    reinstate(team)
    grant.refresh_from_db()
    assert (grant.available_centi, state(team)) == (200, (0, 0, 0))


# --- By hand --------------------------------------------------------------------------------------------------------
def adjust(team, amount_centi, reference: str = "ticket-1") -> None:
    services.adjust(team=team, amount_centi=amount_centi, reference=reference, **BY)


def test_credits_are_given_and_taken_by_hand_once_a_reference(team):
    for _ in range(2):
        adjust(team, 1000)
        adjust(team, -300, "ticket-2")
    assert state(team) == (700, 0, 0)
    lines = Activity.objects.filter(team=team, topic="credits").order_by("created_at")
    assert list(lines.values_list("target", flat=True)) == ["by 10", "by -3"]


def test_taking_burns_what_ends_soonest_and_never_more_than_there_is(team):
    late = give(team, 500)
    soon = give(team, 500, expires_at=timezone.now() + timedelta(days=1))
    adjust(team, -700)
    assert [Grant.objects.get(pk=row.pk).available_centi for row in (soon, late)] == [0, 300]
    with pytest.raises(InsufficientCredits, match="has 3 credits to take, not 4"):
        adjust(team, -400, "ticket-2")
    adjust(team, -700)  # again
    assert state(team) == (300, 0, 0)


def test_a_reference_moves_one_thing_whoever_repeats_it(team):
    other = team_of(make_user(credits=100))
    give(team, 1000)
    adjust(team, -300)
    for who, amount in ((team, -301), (other, -300), (team, 300), (other, 300)):
        with pytest.raises(ReferenceTaken):
            adjust(who, amount)
    adjust(team, 50, "ticket-2")
    with pytest.raises(ReferenceTaken):
        adjust(team, -50, "ticket-2")
    assert (state(team), state(other)) == ((750, 0, 0), (10_000, 0, 0))


def test_the_reference_of_one_is_not_the_beginning_of_another(team):
    give(team, 1000)
    adjust(team, -100, "a#1")
    adjust(team, -200, "a")
    adjust(team, -200, "a")
    assert state(team) == (700, 0, 0)


@pytest.mark.parametrize("amount", [0, 1.5, -1.5, True, AMOUNT_CENTI_MAX + 1, -AMOUNT_CENTI_MAX - 1, 10**30])
def test_what_is_no_amount_moves_nothing(team, amount):
    give(team, 1000)
    with pytest.raises(InvalidAmount):
        adjust(team, amount)
    assert state(team) == (1000, 0, 0) and not Activity.objects.filter(topic="credits").exists()


@pytest.mark.parametrize("amount", [0, -1, 0.5, True, "5", None, AMOUNT_CENTI_MAX + 1, 10**30])
def test_the_ledger_takes_whole_hundredths_only(team, amount):
    facts = {"team_id": team.pk, "amount_centi": amount}
    grant = give(team, 1000)
    acts = (
        lambda: ledger.grant(**facts, source="bonus", source_ref="x"),
        lambda: ledger.take(**facts, reference="x", **BY),
        lambda: ledger.revoke(**facts, grant_id=grant.pk, reference="x", **BY),
    )
    for act in acts:
        with pytest.raises(InvalidAmount), transaction.atomic():
            act()
    assert state(team) == (1000, 0, 0) and Entry.objects.count() == 1


def test_a_pass_of_half_an_image_is_refused(team):
    with pytest.raises(InvalidAmount, match="whole images"):
        give(team, 150, source="pass", covers_px=512)
    assert not Grant.objects.exists()


def test_a_team_that_is_not_there_is_named():
    nobody = uuid4()
    with pytest.raises(UnknownTeam), transaction.atomic():
        ledger.grant(team_id=nobody, amount_centi=100, source="bonus", source_ref="x")
    with pytest.raises(UnknownTeam), transaction.atomic():
        ledger.reserve(team_id=nobody, quote=Quote(600, 1), reference="x")
    assert not Wallet.objects.filter(team_id=nobody).exists() and not Grant.objects.exists()


def test_a_frozen_team_spends_nothing_is_told_why_and_its_running_jobs_end(team):
    give(team, 1200)
    reserve(team)
    for _ in range(2):
        services.freeze(team=team, reason="a disputed payment", actor="staff:ana@example.com")
    with pytest.raises(WalletFrozen, match="a disputed payment"):
        reserve(team, reference="job-2")
    assert settle(team, delivered=1).charged_centi == 600
    for _ in range(2):
        services.unfreeze(team=team, actor="staff:ana@example.com")
    reserve(team, reference="job-2")
    assert state(team) == (0, 600, 0)
    verbs = Activity.objects.filter(team=team, topic="credits").order_by("created_at").values_list("verb", flat=True)
    assert list(verbs) == ["credits.frozen", "credits.unfrozen"]


# --- Time -----------------------------------------------------------------------------------------------------------
def test_what_is_left_of_an_ended_grant_is_written_off_once(team):
    other = team_of(make_user(credits=1))
    ended, lasting = give(team, 500), give(team, 300)
    end_now(ended)
    assert services.expire_all() == 1
    assert services.expire_all() == 0
    assert (state(team), state(other)) == ((300, 0, 0), (100, 0, 0))
    assert Entry.objects.get(kind="expire").grant_id == ended.pk and lasting.pk


def test_once_a_night_also_what_ended_long_ago_is_written_off(team, monkeypatch):
    """A dispute that is won gives back to a grant which the hourly look no longer sees."""
    grant = give(team, 500)
    long_ago = timezone.now() - services.EXPIRY_LOOK_BACK - timedelta(hours=1)
    Grant.objects.filter(pk=grant.pk).update(effective_at=long_ago - timedelta(days=1), expires_at=long_ago)
    written_off = []
    for hour in (2, 4, 3, 3):
        clock = SimpleNamespace(now=partial(datetime, 2026, 11, 21, hour, 59, tzinfo=UTC))
        monkeypatch.setattr(services, "timezone", clock)
        written_off.append(services.expire_due())
    assert written_off == [0, 0, 1, 0]
    assert (state(team), Entry.objects.get(kind="expire").grant_id) == ((0, 0, 0), grant.pk)


def hold_past_its_deadline(team, count: int = 2) -> Hold:
    hold = reserve(team, count)
    Hold.objects.filter(pk=hold.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    return hold


def test_the_hold_of_a_living_job_goes_on(team, alarms):
    give(team, 1200)
    hold = hold_past_its_deadline(team)
    assert holds.sweep(set) == holds.Swept(extended=1, released=0)
    hold.refresh_from_db()
    assert hold.state == "pending" and hold.expires_at > timezone.now() + timedelta(minutes=50)
    assert holds.sweep(lambda references: set()) == holds.Swept(0, 0)
    assert (state(team), alarms) == ((0, 1200, 0), [])


def test_a_hold_without_a_job_alarms_and_is_given_back_by_entries(team, alarms):
    give(team, 1200)
    hold = hold_past_its_deadline(team)
    assert holds.sweep(lambda references: set()) == holds.Swept(extended=0, released=1)
    assert holds.sweep(lambda references: set()) == holds.Swept(0, 0)
    hold.refresh_from_db()
    assert (hold.state, hold.released_centi) == ("expired", 1200)
    assert alarms == [("hold_without_job", {"hold": "job-1", "amount_centi": 1200})]
    assert state(team) == (1200, 0, 0)


def test_a_delivery_after_the_sweep_is_charged_anew_once(team, alarms):
    give(team, 1200)
    hold_past_its_deadline(team)
    holds.sweep(lambda references: set())
    assert settle(team, delivered=1) == ledger.Receipt(600, 0, is_new=True)
    assert settle(team, delivered=1) == ledger.Receipt(600, 0, is_new=False)
    assert state(team) == (600, 0, 0)
    assert [name for name, _ in alarms] == ["hold_without_job"]


def test_nothing_delivered_after_the_sweep_costs_nothing(team, alarms):
    give(team, 1200)
    hold_past_its_deadline(team)
    holds.sweep(lambda references: set())
    assert settle(team, delivered=0) == ledger.Receipt(0, 1200, is_new=False)
    assert state(team) == (1200, 0, 0)


def test_a_late_delivery_nobody_can_pay_is_written_down_and_alarms_once(team, alarms):
    give(team, 1200)
    hold = hold_past_its_deadline(team)
    holds.sweep(lambda references: set())
    adjust(team, -1200)
    assert settle(team, delivered=2) == ledger.Receipt(0, 1200, is_new=True, uncollected_centi=1200)
    give(team, 5000)  # credits that come afterwards are not charged by a second delivery
    assert settle(team, delivered=2) == ledger.Receipt(0, 1200, is_new=False, uncollected_centi=1200)
    owed = Uncollected.objects.get()
    assert (owed.hold_id, owed.amount_centi, owed.delivered) == (hold.pk, 1200, 2)
    assert [name for name, _ in alarms] == ["hold_without_job", "uncollected"]
    assert state(team) == (5000, 0, 0)


# --- People who are gone --------------------------------------------------------------------------------------------
def test_a_person_goes_and_the_ledger_stays(team):
    user = team.members.get()
    adjust(team, 1000)
    entries = list(Entry.objects.values())
    user.delete()
    assert list(Entry.objects.values()) == entries and state(team) == (1000, 0, 0)


def test_a_team_with_credits_cannot_be_deleted(team):
    give(team, 100)
    with pytest.raises(ProtectedError), transaction.atomic():
        team.delete()
    assert state(team) == (100, 0, 0)


def test_the_audit_alarms_about_what_it_finds(team, alarms):
    give(team, 100)
    assert services.audit() == [] and alarms == []
    Wallet.objects.filter(team=team).update(available_centi=101)
    (line,) = [line for line in services.audit() if "differs from its grants" in line]
    assert [(name, line in facts["first"]) for name, facts in alarms] == [("ledger_drift", True)]
