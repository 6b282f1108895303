"""A deleted team is not billed again, and a restored one goes on; and what Stripe, and its mirror, know of a team."""

import pytest
from django.apps import apps

from accounts import services as account_services
from accounts.models import Membership
from credits import plans
from credits.billing import inbox, mirror
from credits.models import Payment, StripeCustomer, StripeEvent
from tests.billing import grants_of
from tests.factories import make_member, make_user, team_of
from tests.fake_stripe import subscriptions

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return make_user()


@pytest.fixture
def team(user):
    return team_of(user)


def close(team, user) -> None:
    account_services.close_team(team=team, actor=user)


def test_closing_a_team_ends_its_subscription_with_the_period(shop, team, user):
    sub = shop.subscribe(team, "basic")
    close(team, user)
    assert sub["cancel_at_period_end"] is False  # nothing is asked inside the transaction
    shop.deliver_all([])
    assert sub["cancel_at_period_end"] is True and sub["status"] == "active"
    shop.fake.go_to(sub["items"]["data"][0]["current_period_end"])
    assert sub["status"] == "canceled"


def test_a_restored_team_goes_on(shop, team, user):
    sub = shop.subscribe(team, "basic")
    close(team, user)
    shop.deliver_all([])
    account_services.reopen_team(team=team, actor=user)
    shop.deliver_all([])
    assert sub["cancel_at_period_end"] is False


def test_what_the_customer_cancelled_stays_cancelled(shop, team, user):
    sub = shop.subscribe(team, "basic")
    subscriptions.update(shop.store, sub, cancel_at_period_end=True)
    close(team, user)
    shop.deliver_all([])
    account_services.reopen_team(team=team, actor=user)
    shop.deliver_all([])
    assert sub["cancel_at_period_end"] is True


def test_while_stripe_is_down_it_is_tried_again(shop, team, user):
    sub = shop.subscribe(team, "basic")
    close(team, user)
    shop.fake.down = True
    with pytest.raises(AssertionError, match="StripeUnavailable"):
        shop.deliver_all([])
    shop.fake.down = False
    StripeEvent.objects.update(due_at="2020-01-01T00:00:00Z")
    shop.deliver_all([])
    assert sub["cancel_at_period_end"] is True


def test_a_team_that_never_bought_leaves_no_line(shop, team, user):
    close(team, user)
    assert not StripeEvent.objects.exists()


def test_a_planned_downgrade_keeps_no_deleted_team_alive(shop, team, user):
    """Stripe refuses to end what a schedule rules."""
    sub = shop.subscribe(team, "pro")
    subscriptions.update(shop.store, sub, price=shop.price("basic"))
    close(team, user)
    shop.deliver_all([])
    assert (sub["schedule"], sub["cancel_at_period_end"]) == (None, True)
    shop.fake.go_to(sub["items"]["data"][0]["current_period_end"])
    assert sub["status"] == "canceled"


@pytest.mark.parametrize("status", ["unpaid", "paused"])
def test_what_could_cost_again_ends_too(shop, team, user, status):
    sub = shop.subscribe(team, "basic")
    sub["status"] = status
    close(team, user)
    shop.deliver_all([])
    assert sub["cancel_at_period_end"] is True


def test_a_checkout_that_was_paid_after_the_team_was_deleted_is_paid_once(shop, team, user):
    purchase = shop.begin(team, "plan", "basic")
    close(team, user)
    shop.deliver_all([])
    assert shop.fake.pay(purchase.session_id)
    shop.deliver_all()
    (sub,) = shop.store.all("subscription")
    assert sub["cancel_at_period_end"] is True
    account_services.reopen_team(team=team, actor=user)
    shop.deliver_all([])
    assert sub["cancel_at_period_end"] is False
    assert [amount for _, amount, _ in grants_of(team)] == [50_000] and plans.plan_of(team.pk).slug == "basic"


def test_receipts_go_to_whoever_owns_the_team(shop, team, user):
    shop.buy(team, "pack", "200-credits")
    (customer,) = shop.store.all("customer")
    heir = make_member(team)
    account_services.rename_team(team=team, name="Foxes", actor=user)
    account_services.transfer_team(team=team, to=Membership.objects.get(user=heir), actor=user)
    shop.deliver_all()
    assert (customer["name"], customer["email"]) == ("Foxes", heir.email)


def test_a_team_whose_customer_is_gone_at_stripe_is_not_asked_about_for_ever(shop, team, user):
    shop.buy(team, "pack", "200-credits")
    shop.store.all("customer")[0]["deleted"] = True
    close(team, user)
    assert inbox.work_off() == 1
    assert StripeCustomer.objects.get().gone_at is not None


def mirrored() -> str:
    """Everything that dj-stripe keeps."""
    return str([list(model._default_manager.values()) for model in apps.get_app_config("djstripe").get_models()])


def test_a_team_that_is_deleted_for_good_leaves_no_name_in_the_mirror(shop):
    people = [make_user(email=f"{name}.canary@example.com", name=f"{name} Canary") for name in ("ana", "bob")]
    for one in people:
        sub = shop.subscribe(team_of(one), "basic")
        shop.fake.refund(shop.fake.intent_of(sub["latest_invoice"]), 10_000)
        shop.fake.dispute(shop.fake.intent_of(sub["latest_invoice"]))
    sent = [event for event in shop.store.events if event["type"] in inbox.HANDLERS]
    assert {shop.post(event).status_code for event in sent} == {200}
    shop.deliver_all()
    ana = team_of(people[0])
    known = StripeCustomer.objects.get(team=ana).customer_id
    close(ana, people[0])
    shop.deliver_all([])
    assert "ana.canary" in mirrored() and known in mirrored()
    account_services.purge_team(ana)
    shop.deliver_all([])
    assert "ana.canary" not in mirrored() and known not in mirrored() and "bob.canary" in mirrored()
    customer = shop.store.get(known)
    assert (customer["name"], customer["email"]) == ("Deleted team", f"team-{ana.pk}@deleted.invalid")
    assert Payment.objects.filter(team=ana).count() == 1

    sub = next(one for one in shop.store.all("subscription") if one["customer"] == known)
    shop.fake.go_to(sub["items"]["data"][0]["current_period_end"])
    ended = next(event for event in reversed(shop.store.events) if event["data"]["object"]["id"] == sub["id"])
    assert shop.post(ended).status_code == 200
    assert known in mirrored() and "ana.canary" not in mirrored()
    assert (mirror.forget_again(), mirror.forget_again()) == (1, 0)
    assert known not in mirrored() and "bob.canary" in mirrored()
