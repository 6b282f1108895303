"""Refunds and disputes take credits back: their share, once, never below zero; and what was wrong comes back."""

import pytest
from django.db import transaction

from accounts.models import Activity
from credits import audit, ledger, passes
from credits.billing import inbox, takebacks
from credits.billing.shapes import Refund
from credits.errors import PassNotReady
from credits.models import Clawback, Dispute, Grant, Pass, Payment, StripeEvent, Wallet
from credits.pricing import Quote
from tests.billing import grants_of
from tests.factories import give, make_user, team_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return team_of(make_user())


def wallet_of(team) -> tuple[int, int, bool]:
    """(available, debt, whether it is frozen)."""
    wallet = Wallet.objects.get(team=team)
    return wallet.available_centi, wallet.debt_centi, bool(wallet.frozen_reason)


def pack_intent(shop, team, slug: str = "200-credits") -> str:
    purchase = shop.buy(team, "pack", slug)
    shop.deliver_all()
    purchase.refresh_from_db()
    return purchase.payment_intent


def spend(team, amount_centi: int) -> None:
    with transaction.atomic():
        ledger.reserve(team_id=team.pk, quote=Quote(unit_centi=amount_centi, count=1), reference="job")
    with transaction.atomic():
        ledger.settle(team_id=team.pk, reference="job", delivered=1)


def test_a_full_refund_takes_everything(shop, team):
    shop.fake.refund(pack_intent(shop, team))
    shop.deliver_all()
    assert [revoked for *_, revoked in grants_of(team)] == [20_000]
    assert wallet_of(team) == (0, 0, False)
    assert audit.find_drift() == []


def test_partial_refunds_add_up_and_never_exceed(shop, team):
    intent = pack_intent(shop, team)
    for cents, taken in ((10_000, 4_008), (10_000, 8_016), (29_900, 20_000)):  # of 49,900: rounded down, in all
        shop.fake.refund(intent, cents)
        shop.deliver_all()
        shop.deliver_all()
        assert [revoked for *_, revoked in grants_of(team)] == [taken]
    assert Payment.objects.get().refunded_cents == 49_900
    assert audit.find_drift() == []


def test_older_news_of_a_refund_change_nothing(shop, team):
    intent = pack_intent(shop, team)
    first, second = Refund("re_1", 10_000, has_failed=False), Refund("re_2", 20_000, has_failed=False)
    for known in ([first, second], [first], []):
        assert takebacks.note_refunds(intent, charged_cents=49_900, refunds=known)
    assert Payment.objects.get().refunded_cents == 30_000
    assert [revoked for *_, revoked in grants_of(team)] == [12_024]


def test_a_refund_that_fails_gives_exactly_its_part_back(shop, team):
    """Four in a row, the second fails, and so does the last; what is refunded anew is taken anew."""
    intent = pack_intent(shop, team)
    _, second, _, fourth = [shop.fake.refund(intent, cents) for cents in (10_001, 10_001, 10_001, 19_897)]
    shop.deliver_all()
    assert wallet_of(team) == (0, 0, False)
    for failed, taken in ((second, 15_991), (fourth, 8_016)):
        shop.fake.fail_refund(failed["id"])
        shop.deliver_all()
        assert wallet_of(team) == (20_000 - taken, 0, False)
    shop.fake.refund(intent)
    shop.deliver_all()
    assert wallet_of(team) == (0, 0, False) and Payment.objects.get().refunded_cents == 49_900
    assert audit.find_drift() == []


def test_a_refund_that_fails_forgives_its_debt_and_stays_failed(shop, team):
    intent = pack_intent(shop, team)
    spend(team, 15_000)
    refund = shop.fake.refund(intent)
    shop.deliver_all()
    assert wallet_of(team) == (0, 15_000, False)
    shop.fake.fail_refund(refund["id"])
    shop.deliver_all([shop.event("refund.failed")])
    assert wallet_of(team) == (5_000, 0, False)
    takebacks.note_refunds(intent, charged_cents=49_900, refunds=[Refund(refund["id"], 49_900, has_failed=False)])
    assert wallet_of(team) == (5_000, 0, False)  # older news
    assert Activity.objects.filter(verb="billing.refund_failed", target=intent).exists()
    assert audit.find_drift() == []


def test_a_pass_comes_back_when_its_refund_fails(shop, team):
    refund = shop.fake.refund(pass_intent(shop, team))
    shop.deliver_all()
    assert Pass.objects.get().withdrawn_at is not None
    shop.fake.fail_refund(refund["id"])
    shop.deliver_all()
    assert Pass.objects.get().withdrawn_at is None


def test_a_refund_of_what_was_spent_becomes_debt_that_the_next_credits_pay(shop, team):
    intent = pack_intent(shop, team)
    spent = 15_000
    spend(team, spent)
    shop.fake.refund(intent)
    shop.deliver_all()
    assert wallet_of(team) == (0, spent, False)
    pack_intent(shop, team)
    assert wallet_of(team) == (20_000 - spent, 0, False)
    assert audit.find_drift() == []


def test_a_refund_that_is_heard_of_before_the_purchase_takes_it_all_the_same(shop, team):
    purchase = shop.buy(team, "pack", "200-credits")
    intent = shop.store.get(purchase.session_id)["payment_intent"]
    shop.fake.refund(intent)
    shop.deliver_all([shop.event("charge.refunded")])
    assert [(amount, revoked) for _, amount, revoked in grants_of(team)] == [(20_000, 20_000)]
    shop.deliver_all()
    assert [(amount, revoked) for _, amount, revoked in grants_of(team)] == [(20_000, 20_000)]


def test_a_refund_of_an_invoice_is_found_by_its_payment(shop, team):
    sub = shop.subscribe(team, "basic")
    shop.fake.refund(shop.fake.intent_of(sub["latest_invoice"]), 49_950)  # half
    shop.deliver_all()
    assert [(amount, revoked) for _, amount, revoked in grants_of(team)] == [(50_000, 25_000)]


def test_a_refund_of_a_year_takes_its_share_of_months_to_come(shop, team, monkeypatch):
    from credits.billing import follow
    from credits.models import Term

    sub = shop.subscribe(team, "basic", "year")
    shop.fake.refund(shop.fake.intent_of(sub["latest_invoice"]), 499_500)  # half
    shop.deliver_all()
    term = Term.objects.get()
    monkeypatch.setattr(follow, "now", lambda: term.next_at)
    follow.settle_years(term.next_at)
    assert [(amount, revoked) for _, amount, revoked in grants_of(team)] == [(50_000, 25_000)] * 2


def test_a_dispute_freezes_and_takes_and_won_gives_exactly_that_back(shop, team):
    intent = pack_intent(shop, team)
    give(team, 500)
    quarrel = shop.fake.dispute(intent)
    shop.deliver_all()
    assert wallet_of(team) == (500, 0, True)
    shop.fake.close_dispute(quarrel["id"], "won")
    shop.deliver_all()
    assert wallet_of(team) == (20_500, 0, False)
    assert Clawback.objects.get().undone_at is not None
    assert audit.find_drift() == []


def test_a_lost_dispute_stays_taken_and_frozen(shop, team):
    intent = pack_intent(shop, team)
    quarrel = shop.fake.dispute(intent)
    shop.fake.close_dispute(quarrel["id"], "lost")
    shop.deliver_all()
    assert wallet_of(team) == (0, 0, True)
    assert Dispute.objects.get().state == "lost"
    takebacks.note_dispute(
        intent, dispute_id=quarrel["id"], charged_cents=49_900, amount_cents=49_900, state="open"
    )  # older news
    assert Dispute.objects.get().state == "lost"


def test_winning_one_dispute_does_not_lift_the_freeze_of_another(shop, team):
    first, second = (shop.fake.dispute(pack_intent(shop, team)) for _ in range(2))
    shop.deliver_all()
    shop.fake.close_dispute(first["id"], "won")
    shop.deliver_all()
    assert wallet_of(team) == (20_000, 0, True)
    shop.fake.close_dispute(second["id"], "won")
    shop.deliver_all()
    assert wallet_of(team) == (40_000, 0, False)


def test_a_freeze_by_staff_is_not_lifted_by_a_dispute(shop, team):
    from credits import services

    intent = pack_intent(shop, team)
    services.freeze(team=team, reason="Abuse", actor="staff:a")
    quarrel = shop.fake.dispute(intent)
    shop.deliver_all()
    shop.fake.close_dispute(quarrel["id"], "won")
    shop.deliver_all()
    assert Wallet.objects.get(team=team).frozen_reason == "Abuse"


def test_an_inquiry_moves_nothing(shop, team):
    intent = pack_intent(shop, team)
    quarrel = shop.fake.dispute(intent)
    quarrel["status"] = "warning_needs_response"
    shop.deliver_all()
    assert wallet_of(team) == (20_000, 0, False) and not Dispute.objects.exists()


def test_a_refunded_pass_cannot_be_started(shop, team):
    intent = pass_intent(shop, team)
    shop.fake.refund(intent)
    shop.deliver_all()
    one = Pass.objects.get()
    with pytest.raises(PassNotReady, match="was refunded"):
        passes.activate(team=team, pass_id=one.pk, actor="a")
    assert Pass.objects.get().grant_id is None and passes.shown_to(team) == []


def test_a_disputed_pass_comes_back_when_the_dispute_is_won(shop, team):
    quarrel = shop.fake.dispute(pass_intent(shop, team))
    shop.deliver_all()
    assert Pass.objects.get().withdrawn_at is not None
    shop.fake.close_dispute(quarrel["id"], "won")
    shop.deliver_all()
    assert Pass.objects.get().withdrawn_at is None


def test_a_started_pass_loses_whole_pictures_and_leaves_no_debt(shop, team):
    intent = pass_intent(shop, team)
    passes.activate(team=team, pass_id=Pass.objects.get().pk, actor="a")
    shop.fake.refund(intent, 3_000)  # 30 % of 8 pictures: 2
    shop.deliver_all()
    grant = Grant.objects.get(source="pass")
    assert (grant.available_centi, grant.revoked_centi) == (600, 200)
    assert wallet_of(team) == (0, 0, False)
    assert audit.find_drift() == []


def test_payments_of_somebody_else_are_left_alone(shop, team):
    from tests.fake_stripe import payments

    stranger = shop.store.new("customer", email="x@example.com", metadata={})
    intent = payments.pay(shop.store, customer=stranger["id"], amount=500, currency="inr")
    shop.fake.refund(intent["id"])
    shop.hear(shop.event("charge.refunded"))
    assert inbox.work_off() == 1
    assert StripeEvent.objects.get().processed_at and not Payment.objects.exists()


def test_a_charge_without_a_payment_intent_is_not_ours(shop):
    customer = shop.store.new("customer", email="x@example.com", metadata={})
    facts = {"amount": 500, "amount_captured": 500, "amount_refunded": 500, "payment_intent": None}
    shop.store.emit("charge.refunded", shop.store.new("charge", customer=customer["id"], **facts))
    shop.deliver_all()
    assert not Payment.objects.exists()


def pass_intent(shop, team) -> str:
    purchase = shop.buy(team, "pass", "flash")
    shop.deliver_all()
    purchase.refresh_from_db()
    return purchase.payment_intent


def test_what_a_customers_balance_paid_does_not_count_as_charged(shop, team):
    sub = shop.subscribe(team, "basic")
    intent = shop.fake.intent_of(sub["latest_invoice"])
    charge = shop.store.get(shop.store.get(intent)["latest_charge"])
    charge["amount"] = charge["amount_captured"] = 40_000  # of 99,900; the balance paid the rest
    shop.fake.dispute(intent)
    shop.deliver_all()
    assert [(amount, revoked) for _, amount, revoked in grants_of(team)] == [(50_000, 50_000)]
