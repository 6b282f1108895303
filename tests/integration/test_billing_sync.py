"""`sync_billing` finds what webhooks lost, and `setup_billing` tells Stripe once what it must know."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from djstripe.models import Event, WebhookEndpoint, WebhookEventTrigger

from credits import plans
from credits.billing import inbox, reconcile, setup
from credits.models import Grant, Pass, Payment, PlanPrice, StripeEvent, StripeSetup, Subscription
from tenkaigen import alarms
from tests.billing import grants_of
from tests.factories import make_user, team_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return team_of(make_user())


@pytest.fixture
def sold(shop, team):
    """A plan, a pack and a pass that were paid, and of which nothing was heard."""
    for kind, slug in (("plan", "basic"), ("pack", "200-credits"), ("pass", "flash")):
        shop.buy(team, kind, slug)
    return shop


def sync(*arguments: str) -> tuple[int, list[str]]:
    out, code = StringIO(), 0
    try:
        call_command("sync_billing", *arguments, stdout=out)
    except SystemExit as error:
        code = int(error.code or 0)
    return code, out.getvalue().splitlines()


def test_nothing_differs_when_everything_was_heard(sold):
    sold.deliver_all()
    assert sync() == (0, ["differences: 0"])


def test_what_was_not_heard_is_a_line_each_and_exit_1(sold, team):
    sub = sold.store.all("subscription")[0]
    code, lines = sync()
    assert code == 1 and lines[-1] == "differences: 4"
    assert lines[0] == f"team {team.pk}: the plan is basic by {sub['id']} at Stripe, none here"
    assert lines[1].startswith(f"invoice {sub['latest_invoice']}: no grant sub:{sub['id']}:")
    assert all("was paid and not delivered" in line for line in lines[2:4])
    assert not Grant.objects.exists() and not Pass.objects.exists()


def test_apply_puts_it_right(sold, team):
    assert sync("--apply")[0] == 1
    assert sync() == (0, ["differences: 0"])
    assert sorted(amount for _, amount, _ in grants_of(team)) == [20_000, 50_000]
    assert Pass.objects.count() == 1 and plans.plan_of(team.pk).slug == "basic"


def test_a_refund_that_was_not_heard_of(sold, team):
    sold.deliver_all()
    payment = Payment.objects.get(amount_cents=49_900)
    sold.fake.refund(payment.pk, 49_900)
    assert sync()[1] == [f"payment {payment.pk}: 49900 went back, 0 here", "differences: 1"]
    sync("--apply")
    assert Grant.objects.get(source="purchase").revoked_centi == 20_000


def test_a_plan_that_ended_unheard(sold, team):
    from tests.fake_stripe import subscriptions

    sold.deliver_all()
    sub = sold.store.all("subscription")[0]
    subscriptions.end(sold.store, sub)
    assert sync()[1][0] == f"team {team.pk}: the plan is none at Stripe, basic by {sub['id']} here"
    sync("--apply")
    assert Subscription.objects.get().external_ref == "" and plans.plan_of(team.pk).slug == "free"


def test_the_daily_run_repairs_and_alarms(sold, team, monkeypatch):
    heard = []
    monkeypatch.setattr(alarms, "ring", lambda name, **facts: heard.append((name, facts["count"])))
    assert reconcile.check_and_alarm() == 4
    assert reconcile.check_and_alarm() == 0
    assert heard == [("billing_differs", 4)]


def test_while_stripe_is_down_it_says_so(sold):
    sold.fake.down = True
    with pytest.raises(CommandError, match="does not answer"):
        call_command("sync_billing")


def test_old_webhook_calls_are_forgotten(shop, team):
    shop.buy(team, "pack", "200-credits")
    shop.post(shop.event("checkout.session.completed"))
    assert reconcile.forget_old_calls() == 0
    WebhookEventTrigger.objects.update(created="2020-01-01T00:00:00Z")
    assert reconcile.forget_old_calls() == 1 and not WebhookEventTrigger.objects.exists()
    Event.objects.update(djstripe_created="2020-01-01T00:00:00Z")
    assert reconcile.forget_old_calls() == 1 and not Event.objects.exists()
    assert StripeEvent.objects.count() == 1  # so that none is taken twice


def test_setting_up_again_makes_nothing_twice(shop, settings):
    before = [len(shop.store.all(kind)) for kind in ("product", "price", "webhook_endpoint")]
    lines = list(setup.run(site_url="https://other.example.com", apply=True))
    assert [len(shop.store.all(kind)) for kind in ("product", "price", "webhook_endpoint")] == before == [3, 6, 1]
    assert shop.endpoint["url"].startswith("https://other.example.com/stripe/webhook/")
    assert shop.endpoint["enabled_events"] == list(inbox.EVENTS)
    assert shop.endpoint["api_version"] == settings.STRIPE_API_VERSION
    assert WebhookEndpoint.objects.get().secret == shop.endpoint["secret"]
    assert len(lines) == 8


def test_without_apply_nothing_is_made(stripe, db):
    lines = list(setup.run(site_url="http://testserver", apply=False))
    assert [line.split()[-1] for line in lines] == ["missing"] * 8
    assert not stripe.store.all("price") and not WebhookEndpoint.objects.exists()
    assert StripeSetup.objects.get().portal_configuration == ""


def test_a_price_that_differs_at_stripe_is_not_sold_in_silence(shop):
    PlanPrice.objects.filter(plan__slug="pro", interval="year").update(price_cents=5)
    with pytest.raises(CommandError, match="is something else"):
        call_command("setup_billing", "--apply", stdout=StringIO())


def test_the_portal_lets_nothing_happen_that_the_ledger_does_not_expect(shop):
    (configuration,) = shop.store.all("billing_portal.configuration")
    features = configuration["features"]
    assert features["subscription_cancel"] == {"enabled": "true", "mode": "at_period_end"}
    change = features["subscription_update"]
    assert change["proration_behavior"] == "always_invoice"
    assert [one["type"] for one in change["schedule_at_period_end"]["conditions"]] == list(setup.CHEAPER_LATER)
    assert len(change["products"]) == 3
