from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from credits import ledger
from credits.audit import find_drift
from credits.errors import AlreadySettled, InsufficientCredits, ReferenceTaken, WalletFrozen
from credits.models import Entry, Grant, Hold, Wallet
from credits.pricing import Quote
from credits.queries import balance_of
from tests.factories import give, make_user, team_of

pytestmark = pytest.mark.django_db


def quote(unit_centi: int = 600, count: int = 1) -> Quote:
    return Quote(unit_centi, count, facts={"width": 256, "height": 256, "quality": "standard"})


@transaction.atomic
def reserve(team, reference="job-1", **fields) -> Hold:
    return ledger.reserve(team_id=team.pk, quote=quote(**fields), reference=reference)


@transaction.atomic
def settle(team, delivered, reference="job-1") -> ledger.Receipt:
    return ledger.settle(team_id=team.pk, reference=reference, delivered=delivered)


def balance(team) -> tuple[int, int]:
    now = balance_of(team)
    assert find_drift() == []
    return now.available_centi, now.held_centi


def test_a_new_team_gets_the_welcome_bonus_once():
    from accounts import services as accounts
    from credits import services

    user = accounts.create_account("new@example.com", "a long password")
    services.welcome(team_of(user), user)
    assert balance(team_of(user)) == (10_000, 0)


def test_what_is_delivered_is_charged_and_the_rest_comes_back():
    team = team_of(make_user(credits=100))
    reserve(team, count=4)
    assert balance(team) == (7600, 2400)
    assert settle(team, delivered=3) == ledger.Receipt(charged_centi=1800, released_centi=600, is_new=True)
    assert balance(team) == (8200, 0)


def test_settling_twice_changes_nothing_and_returns_the_first_figures():
    team = team_of(make_user(credits=100))
    reserve(team, count=2)
    settle(team, delivered=2)
    assert settle(team, delivered=0) == ledger.Receipt(charged_centi=1200, released_centi=0, is_new=False)
    assert balance(team) == (8800, 0)


def test_repeating_a_reference_reserves_once():
    team = team_of(make_user(credits=100))
    assert reserve(team).pk == reserve(team).pk
    assert balance(team) == (9400, 600)
    with pytest.raises(ReferenceTaken):
        reserve(team, count=2)
    settle(team, delivered=1)
    with pytest.raises(AlreadySettled):
        reserve(team)


def test_refusal_leaves_no_trace():
    team = team_of(make_user(credits=5))
    with pytest.raises(InsufficientCredits, match=r"costs 6 credits; you have 5\."):
        reserve(team)
    assert not Hold.objects.exists()
    assert balance(team) == (500, 0)


def test_a_team_in_debt_or_frozen_cannot_reserve():
    team = team_of(make_user(credits=100))
    Wallet.objects.filter(team=team).update(frozen_reason="a disputed payment")
    with pytest.raises(WalletFrozen, match="a disputed payment"):
        reserve(team)
    Wallet.objects.filter(team=team).update(frozen_reason="", debt_centi=20_000)  # more than it has
    with pytest.raises(WalletFrozen):
        reserve(team)


def test_grants_burn_pass_first_then_soonest_end_then_plan_bonus_purchase():
    team = team_of(make_user())
    soon, late = timezone.now() + timedelta(days=3), timezone.now() + timedelta(days=20)
    purchase = give(team, 600, source="purchase")
    bonus = give(team, 600, source="bonus")
    plan_late = give(team, 600, source="plan", expires_at=late)
    bonus_soon = give(team, 600, source="bonus", expires_at=soon)
    in_pass = give(team, 100, source="pass", expires_at=late, covers_px=512)
    hold = reserve(team, count=5)
    order = list(hold.parts.order_by("pk").values_list("grant_id", flat=True))
    assert order == [grant.pk for grant in (in_pass, bonus_soon, plan_late, bonus, purchase)]
    settle(team, delivered=2)
    spent = set(Grant.objects.filter(spent_centi__gt=0).values_list("pk", flat=True))
    assert spent == {in_pass.pk, bonus_soon.pk}
    assert balance(team) == (1800, 0)


def end_now(grant: Grant) -> None:
    Grant.objects.filter(pk=grant.pk).update(expires_at=Now())


def test_credits_that_have_ended_cannot_be_reserved_and_are_not_shown():
    team = team_of(make_user())
    grant = give(team, 600)
    end_now(grant)
    with pytest.raises(InsufficientCredits):
        reserve(team)
    assert balance(team) == (0, 0)


def test_a_hold_outlives_its_grant_but_what_it_releases_does_not_revive():
    team = team_of(make_user())
    grant = give(team, 1200)
    reserve(team, count=2)
    end_now(grant)
    settle(team, delivered=1)
    grant.refresh_from_db()
    assert (grant.spent_centi, grant.expired_centi, grant.available_centi) == (600, 600, 0)
    assert balance(team) == (0, 0)


def test_one_source_reference_grants_once_for_ever():
    team, other = team_of(make_user()), team_of(make_user())
    facts = {"amount_centi": 500, "source": "purchase", "source_ref": "stripe:1"}
    with transaction.atomic():
        first = ledger.grant(team_id=team.pk, **facts)
        assert ledger.grant(team_id=team.pk, **facts).pk == first.pk
    assert balance(team) == (500, 0)
    for changed in ({"amount_centi": 501}, {"team_id": other.pk}):
        with pytest.raises(ReferenceTaken), transaction.atomic():
            ledger.grant(**{"team_id": team.pk, **facts, **changed})


def test_the_database_refuses_to_change_or_delete_an_entry():
    team = team_of(make_user(credits=1))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or what waits for the commit would refuse the last two
        cursor.execute("SET LOCAL tenkaigen.may_truncate = off")  # as everywhere but in tests
    for statement in (
        "UPDATE credits_entry SET amount_centi = 1", "UPDATE credits_entry SET reason = 'x'",
        "UPDATE credits_entry SET actor = actor", "DELETE FROM credits_entry", "TRUNCATE credits_entry",
        "TRUNCATE credits_wallet CASCADE",
    ):  # fmt: skip
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert Entry.objects.filter(wallet__team=team).count() == 1


def test_the_database_refuses_a_balance_below_zero_and_a_grant_that_leaks():
    team = team_of(make_user(credits=1))
    with pytest.raises(IntegrityError, match="wallet_available_is_not_negative"), transaction.atomic():
        Wallet.objects.filter(team=team).update(available_centi=-1)
    with pytest.raises(IntegrityError, match="grant_is_conserved"), transaction.atomic():
        Grant.objects.filter(wallet__team=team).update(available_centi=99)


def test_the_audit_sees_a_planted_drift():
    team = team_of(make_user(credits=1))
    Wallet.objects.filter(team=team).update(available_centi=101)
    assert any("differs from its grants" in line for line in find_drift())


def test_money_moves_only_inside_a_transaction(transactional_db):
    team = team_of(make_user(credits=100))
    with pytest.raises(AssertionError, match="transaction"):
        ledger.reserve(team_id=team.pk, quote=quote(), reference="x")
