"""Two workers meet at one event, one customer, one payment. Each guard has a twin without it that shows the damage."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, transaction

from credits import ledger, models, passes, plans
from credits.audit import find_drift
from credits.billing import client, customers, follow, inbox, takebacks
from credits.billing.shapes import Refund
from credits.models import Grant, Pass, PassProduct, Payment, Purchase, StripeCustomer, StripeEvent, Wallet
from tests.billing import grants_of
from tests.factories import make_user, team_of
from tests.fake_stripe import subscriptions
from tests.races.ledger import wait_for_waiting


@pytest.fixture
def team():
    return team_of(make_user())


def test_two_workers_at_one_event_grant_once(shop, team, run_together):
    shop.buy(team, "plan", "basic")
    shop.hear(shop.event("invoice.paid"))
    event = StripeEvent.objects.get()
    assert run_together([lambda: inbox.process(event)] * 4) == [True] * 4
    assert [amount for _, amount, _ in grants_of(team)] == [50_000]
    assert find_drift() == []


def test_an_event_is_claimed_by_one_worker(shop, team, run_together):
    shop.buy(team, "plan", "basic")
    for event in shop.store.events:
        if event["type"] in inbox.HANDLERS:
            shop.hear(event)
    assert sum(run_together([inbox.work_off] * 4)) == StripeEvent.objects.count() == 3
    assert set(StripeEvent.objects.values_list("attempts", flat=True)) == {1}
    assert [amount for _, amount, _ in grants_of(team)] == [50_000]


def test_who_meets_at_the_button_has_one_checkout_for_a_plan(shop, team, run_together):
    """The database lets one begin; who comes second waits for its checkout, and ends it."""
    run_together([lambda: shop.begin(team, "plan", "basic"), lambda: shop.begin(team, "plan", "pro")])
    assert sorted(Purchase.objects.values_list("state", flat=True)) == ["expired", "open"]
    assert sorted(one["status"] for one in shop.store.all("checkout.session")) == ["expired", "open"]


def stale_reader(shop, sub, monkeypatch) -> None:
    """The first reader of the subscriptions is overtaken: after it has read, the plan is changed and followed."""
    really, seen = client.each, []

    def each(kind, **params):
        found = list(really(kind, **params))
        if kind == "subscriptions" and not seen:
            seen.append(kind)
            subscriptions.update(shop.store, sub, price=shop.price("pro"))
            follow.settle(sub["customer"])
        yield from found

    monkeypatch.setattr(client, "each", each)


def test_whoever_read_an_older_state_does_not_write_it(shop, team, monkeypatch):
    sub = shop.subscribe(team, "basic")
    stale_reader(shop, sub, monkeypatch)
    follow.settle(sub["customer"])
    assert plans.plan_of(team.pk).slug == "pro"


def test_without_the_guard_the_older_state_wins(shop, team, monkeypatch):
    sub = shop.subscribe(team, "basic")
    stale_reader(shop, sub, monkeypatch)
    monkeypatch.setattr(follow, "_nobody_wrote_since", lambda customer, seen: True)
    follow.settle(sub["customer"])
    assert plans.plan_of(team.pk).slug == "basic"


def refunded_pack(shop, team) -> str:
    purchase = shop.buy(team, "pack", "200-credits")
    shop.deliver_all()
    purchase.refresh_from_db()
    return purchase.payment_intent


REFUNDS = [Refund("re_1", 10_000, has_failed=False), Refund("re_2", 20_000, has_failed=False)]


def noting(intent: str, refunds: list[Refund]):
    return lambda: takebacks.note_refunds(intent, charged_cents=49_900, refunds=refunds)


def test_two_refunds_noted_at_once_take_their_sum(shop, team, run_together):
    intent = refunded_pack(shop, team)
    assert run_together([noting(intent, REFUNDS[:1]), noting(intent, REFUNDS)]) == [True, True]
    assert Grant.objects.get(source="purchase").revoked_centi == 12_024
    assert find_drift() == []


def test_without_the_payments_lock_they_take_too_much(shop, team, run_together, monkeypatch):
    intent = refunded_pack(shop, team)
    models.Refund.objects.create(refund_id="re_1", payment_id=intent, amount_cents=10_000, has_failed=False)
    barrier, really = Barrier(2), ledger.revoke

    def revoke(**wanted):
        barrier.wait(timeout=30)  # both have read what was taken before
        return really(**wanted)

    monkeypatch.setattr(takebacks, "_locked", lambda intent: Payment.objects.get(pk=intent))
    monkeypatch.setattr(takebacks.ledger, "revoke", revoke)
    monkeypatch.setattr(Payment, "save", lambda self, **options: None)  # else its row lock would stand in
    run_together([noting(intent, REFUNDS[:1]), noting(intent, REFUNDS)])
    assert Grant.objects.get(source="purchase").revoked_centi == 4_008 + 12_024


def test_a_dispute_that_meets_the_start_of_its_pass_waits_for_it_in_the_same_order(team):
    """The schedule by hand: the start has the pass when the dispute comes. With the wallet first both would wait."""
    intent = "pi_1"
    Payment.objects.create(payment_intent=intent, team=team, amount_cents=5_000, currency="inr")
    sold = PassProduct.objects.get(slug="flash-lite")
    bought = passes.issue(team=team, product=sold, reference=takebacks.reference_of(intent), actor="stripe")

    def dispute():
        try:
            return takebacks.note_dispute(
                intent, dispute_id="dp_1", charged_cents=5_000, amount_cents=5_000, state="open"
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Pass.objects.select_for_update(no_key=True).get(pk=bought.pk)
            disputing = pool.submit(dispute)
            wait_for_waiting(1)
            started = passes.activate(team=team, pass_id=bought.pk, actor="a")
        assert disputing.result(timeout=30)
    started.grant.refresh_from_db()
    assert (started.grant.revoked_centi, Wallet.objects.get().frozen_reason) == (300, takebacks.FROZEN)
    assert find_drift() == []


def buy_first_together(team, run_together, monkeypatch) -> list[str]:
    """Three people buy their team's first thing at once: nobody finds a customer yet."""
    barrier = Barrier(3)
    monkeypatch.setattr(customers, "customer_of", lambda team: barrier.wait(timeout=30) and None)
    return run_together([lambda: customers.ensure(team).customer_id] * 3)


def test_a_teams_first_buyers_make_one_customer(shop, team, run_together, monkeypatch):
    made = buy_first_together(team, run_together, monkeypatch)
    (customer,) = shop.store.all("customer")
    assert made == [customer["id"]] * 3 == [StripeCustomer.objects.get(team=team).customer_id] * 3


def test_without_a_common_key_each_makes_one(shop, team, run_together, monkeypatch):
    really = client.create

    def without_key(kind, params, *, key):
        return really(kind, params)

    monkeypatch.setattr(client, "create", without_key)
    assert len(set(buy_first_together(team, run_together, monkeypatch))) == len(shop.store.all("customer")) == 3
