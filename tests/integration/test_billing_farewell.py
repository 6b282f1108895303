"""A deleted team is not billed again, and a restored one goes on."""

import pytest

from accounts import services as account_services
from credits.models import StripeEvent
from tests.factories import make_user, team_of
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
