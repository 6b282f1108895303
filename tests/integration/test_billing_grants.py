"""What is bought at Stripe arrives here: plans, packs and passes, once each."""

import pytest

from credits import plans
from credits.billing import inbox
from credits.models import Grant, Pass, Payment, Purchase, StripeEvent, Subscription
from tests.billing import grants_of
from tests.factories import make_user, team_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return team_of(make_user())


def test_a_plan_brings_its_credits_for_the_period_of_its_line(shop, team):
    sub = shop.subscribe(team, "basic")
    item = sub["items"]["data"][0]
    (grant,) = Grant.objects.filter(wallet__team=team)
    assert (grant.source, grant.granted_centi) == ("plan", 50_000)
    assert int(grant.effective_at.timestamp()) == item["current_period_start"]
    assert int(grant.expires_at.timestamp()) == item["current_period_end"]
    assert grant.source_ref == f"sub:{sub['id']}:{grant.effective_at:%Y%m%dT%H%M%SZ}"
    assert grant.payment_ref == shop.fake.intent_of(sub["latest_invoice"])
    assert plans.plan_of(team.pk).slug == "basic"
    row = Subscription.objects.get(team=team)
    assert (row.external_ref, row.grants_monthly, row.ends_at) == (sub["id"], False, None)
    assert Purchase.objects.get(team=team).state == "paid"
    assert Payment.objects.get(team=team).amount_cents == 99_900


def test_the_same_events_again_change_nothing(shop, team):
    shop.subscribe(team, "basic")
    before = grants_of(team)
    StripeEvent.objects.all().delete()
    shop.deliver_all()
    assert grants_of(team) == before and len(before) == 1


def test_a_pack_brings_what_its_purchase_says(shop, team):
    from credits.models import Pack

    purchase = shop.buy(team, "pack", "200-credits")
    Pack.objects.update(credit_centi=1, price_cents=1)  # changed by staff while somebody paid
    shop.deliver_all()
    (grant,) = Grant.objects.filter(wallet__team=team)
    purchase.refresh_from_db()
    assert (grant.source, grant.granted_centi, grant.expires_at) == ("purchase", 20_000, None)
    assert grant.source_ref == f"pi:{purchase.payment_intent}" and grant.payment_ref == purchase.payment_intent
    assert purchase.state == "paid"


def test_a_pass_waits_for_its_start(shop, team):
    purchase = shop.buy(team, "pass", "flash")
    shop.deliver_all()
    purchase.refresh_from_db()
    one = Pass.objects.get(team=team)
    assert (one.reference, one.images, one.grant_id) == (f"pi:{purchase.payment_intent}", 8, None)
    shop.deliver_all()
    assert Pass.objects.count() == 1


def test_what_is_not_paid_brings_nothing(shop, team):
    purchase = shop.begin(team, "pack", "200-credits")
    shop.fake.store.fails_next_payment = True
    assert not shop.fake.pay(purchase.session_id)
    from credits.billing import sales

    sales.deliver(purchase.session_id)
    purchase.refresh_from_db()
    assert purchase.state == "open" and not Grant.objects.exists()
    from tests.fake_stripe import checkout

    checkout.expire(shop.store, shop.store.get(purchase.session_id))
    shop.deliver_all()
    purchase.refresh_from_db()
    assert purchase.state == "expired" and not Grant.objects.exists()


def test_a_payment_that_fails_days_later_ends_its_purchase(shop, team):
    purchase = shop.begin(team, "pack", "200-credits")
    session = shop.store.get(purchase.session_id)
    session.update(status="complete", payment_status="unpaid", payment_intent="pi_slow")  # the bank takes its time
    shop.store.emit("checkout.session.completed", session)
    shop.deliver_all()
    purchase.refresh_from_db()
    assert purchase.state == "open"
    shop.store.emit("checkout.session.async_payment_failed", session)
    shop.deliver_all()
    purchase.refresh_from_db()
    assert purchase.state == "failed" and not Grant.objects.exists() and not Payment.objects.exists()


def test_an_upgrade_brings_the_difference_for_the_rest(shop, team):
    from tests.fake_stripe import subscriptions

    sub = shop.subscribe(team, "basic")
    item = sub["items"]["data"][0]
    begin, end = item["current_period_start"], item["current_period_end"]
    shop.store.frozen_at = begin + (end - begin) // 4
    subscriptions.update(shop.store, sub, price=shop.price("pro"))
    shop.deliver_all()
    rest = end - shop.store.frozen_at
    (_, second) = grants_of(team)
    assert second[1] == 150_000 * rest // (end - begin)
    assert second[0].startswith("upgrade:il_")
    assert plans.plan_of(team.pk).slug == "pro"


def test_a_downgrade_waits_for_the_next_period(shop, team):
    from tests.fake_stripe import subscriptions

    sub = shop.subscribe(team, "pro")
    subscriptions.update(shop.store, sub, price=shop.price("basic"))
    shop.deliver_all()
    assert plans.plan_of(team.pk).slug == "pro" and len(grants_of(team)) == 1
    shop.fake.go_to(sub["items"]["data"][0]["current_period_end"])
    shop.deliver_all()
    assert plans.plan_of(team.pk).slug == "basic"
    assert [amount for _, amount, _ in grants_of(team)] == [200_000, 50_000]


def test_a_cancelled_plan_lasts_to_its_end_and_then_brings_nothing(shop, team):
    from tests.fake_stripe import subscriptions

    sub = shop.subscribe(team, "basic")
    end = sub["items"]["data"][0]["current_period_end"]
    subscriptions.update(shop.store, sub, cancel_at_period_end=True)
    shop.deliver_all()
    assert int(Subscription.objects.get(team=team).ends_at.timestamp()) == end
    assert plans.plan_of(team.pk).slug == "basic"
    shop.fake.go_to(end)
    shop.deliver_all()
    row = Subscription.objects.get(team=team)
    assert (row.external_ref, int(row.ends_at.timestamp())) == ("", end)
    assert len(grants_of(team)) == 1


def test_a_failed_renewal_brings_nothing_until_it_is_paid(shop, team):
    from tests.fake_stripe import subscriptions

    sub = shop.subscribe(team, "basic")
    shop.store.fails_next_payment = True
    shop.fake.go_to(sub["items"]["data"][0]["current_period_end"])
    shop.deliver_all()
    assert sub["status"] == "past_due" and len(grants_of(team)) == 1
    assert plans.plan_of(team.pk).slug == "basic"
    subscriptions.retry(shop.store, sub)
    shop.deliver_all()
    assert [amount for _, amount, _ in grants_of(team)] == [50_000, 50_000]


def test_a_trial_brings_its_own_small_grant(shop, team):
    from credits.models import PlanPrice

    PlanPrice.objects.filter(plan__slug="basic", interval="month").update(trial_days=7, trial_centi=1_000)
    sub = shop.subscribe(team, "basic")
    assert sub["status"] == "trialing"
    assert grants_of(team) == [(f"trial:{sub['id']}", 1_000, 0)]
    assert plans.plan_of(team.pk).slug == "basic"
    shop.fake.go_to(sub["trial_end"])
    shop.deliver_all()
    assert [amount for _, amount, _ in grants_of(team)] == [1_000, 50_000]


def test_a_year_brings_a_month_at_a_time(shop, team, monkeypatch):
    from datetime import UTC, datetime

    from credits.billing import follow
    from credits.models import Term

    sub = shop.subscribe(team, "basic", "year")
    assert [amount for _, amount, _ in grants_of(team)] == [50_000]
    term = Term.objects.get()
    assert int(term.ends_at.timestamp()) == sub["items"]["data"][0]["current_period_end"]
    assert follow.settle_years(datetime.now(UTC)) == 0
    monkeypatch.setattr(follow, "now", lambda: term.next_at)
    assert follow.settle_years(term.next_at) == 1
    assert follow.settle_years(term.next_at) == 0
    assert [amount for _, amount, _ in grants_of(team)] == [50_000, 50_000]


def test_an_event_before_its_local_row_is_not_lost(shop, team):
    from credits.models import StripeCustomer

    shop.buy(team, "plan", "basic")
    StripeCustomer.objects.all().delete()
    Purchase.objects.all().delete()
    shop.deliver_all()
    assert [amount for _, amount, _ in grants_of(team)] == [50_000]
    assert StripeCustomer.objects.get().team == team


def test_customers_of_somebody_else_are_left_alone(shop, team):
    from tests.fake_stripe import subscriptions

    stranger = shop.store.new("customer", email="x@example.com", metadata={})
    subscriptions.start(shop.store, customer=stranger["id"], price=shop.price("basic"))
    shop.deliver_all()
    assert not Grant.objects.exists() and not Subscription.objects.exists()


def test_an_unknown_price_waits_for_its_row(shop, team):
    from credits.models import PlanPrice

    price = shop.price("basic")
    shop.buy(team, "plan", "basic")
    PlanPrice.objects.filter(stripe_price_id=price).update(stripe_price_id="price_other")
    event = shop.event("invoice.paid")
    shop.hear(event)
    assert inbox.work_off() == 0
    line = StripeEvent.objects.get()
    assert line.processed_at is None and line.last_error.startswith("UnknownPrice: ")
    PlanPrice.objects.filter(stripe_price_id="price_other").update(stripe_price_id=price)
    inbox.retry(line.pk)
    assert inbox.work_off() == 1
    assert len(grants_of(team)) == 1


def test_one_customer_who_fails_keeps_the_others_years_going(shop, team):
    from datetime import UTC, datetime

    from credits.billing import follow
    from credits.models import PlanPrice, StripeCustomer, Term

    other = team_of(make_user())
    shop.subscribe(team, "basic", "year")
    shop.subscribe(other, "pro", "year")
    Term.objects.update(next_at="2020-01-01T00:00:00Z")
    PlanPrice.objects.filter(plan__slug="basic", interval="year").update(stripe_price_id="price_other")
    assert follow.settle_years(datetime.now(UTC)) == 0
    waiting = Term.objects.filter(next_at__lt="2021-01-01T00:00:00Z").values_list("team", flat=True)
    assert list(waiting) == [team.pk] and StripeCustomer.objects.count() == 2
