"""The webhook: what Stripe signed comes in once and only rings; what anybody else sends writes nothing."""

import json
import time

import pytest
from django.core.checks import run_checks
from djstripe.models import Customer, Event, Invoice, WebhookEndpoint, WebhookEventTrigger
from djstripe.models import Subscription as Mirrored

from credits.billing import inbox, tasks
from credits.models import Grant, StripeEvent
from tenkaigen import failpoints
from tests.billing import grants_of
from tests.factories import make_user, team_of
from tests.fake_stripe import payments

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return team_of(make_user())


@pytest.fixture
def rings(monkeypatch):
    heard = []
    monkeypatch.setattr(tasks.work_inbox, "delay", lambda: heard.append("ring"))
    return heard


def written() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (WebhookEventTrigger, Event, StripeEvent, Grant))


def test_a_signed_event_leaves_one_line_and_grants_nothing_itself(
    shop, team, rings, django_capture_on_commit_callbacks
):
    shop.buy(team, "plan", "basic")
    event = shop.event("invoice.paid")
    with django_capture_on_commit_callbacks(execute=True):
        assert shop.post(event).status_code == 200
        assert shop.post(event).status_code == 200
    assert list(StripeEvent.objects.values_list("event_id", "type", "object_id", "processed_at")) == [
        (event["id"], "invoice.paid", event["data"]["object"]["id"], None)
    ]
    assert rings == ["ring"] and not Grant.objects.exists()
    assert inbox.work_off() == 1
    assert [amount for _, amount, _ in grants_of(team)] == [50_000]


def test_djstripe_keeps_a_mirror_of_every_kind_of_event_we_ask_for(shop, team, rings):
    sub = shop.subscribe(team, "basic")
    intent = shop.fake.intent_of(sub["latest_invoice"])
    shop.fake.fail_refund(shop.fake.refund(intent, 10_000)["id"])
    quarrel = shop.fake.dispute(intent)
    payments.close_dispute(shop.store, quarrel["id"], "won")
    shop.buy(team, "pack", "200-credits")
    StripeEvent.objects.all().delete()
    sent = [event for event in shop.store.events if event["type"] in inbox.HANDLERS]
    answers = {event["type"]: shop.post(event).status_code for event in sent}
    assert set(answers.values()) == {200}, answers
    assert set(answers) == {
        "customer.subscription.created", "invoice.paid", "checkout.session.completed", "charge.refunded",
        "refund.updated", "refund.failed", "charge.dispute.created", "charge.dispute.funds_withdrawn",
        "charge.dispute.closed", "charge.dispute.funds_reinstated",
    }  # fmt: skip
    assert StripeEvent.objects.count() == len(sent)
    assert Customer.objects.get().subscriber == team
    assert Mirrored.objects.get().id == sub["id"] and Invoice.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "whsec_guessed"},
        {"at": int(time.time()) - 1_000},
        {"signature": ""},
        {"signature": "t=1,v1=zz"},
        {"body": b'{"id": "evt_1"}'},
        {"body": b"no json"},
        {"body": b"[]"},
    ],
    ids=["forged", "stale", "unsigned", "broken", "no event", "no json", "a list"],
)
def test_what_is_not_stripes_writes_nothing(shop, team, rings, change):
    shop.buy(team, "plan", "basic")
    before = written()
    assert shop.post(shop.event("invoice.paid"), **change).status_code == 400
    assert written() == before and rings == []


def test_an_event_of_the_other_mode_writes_nothing(shop, team, rings):
    shop.buy(team, "plan", "basic")
    event = shop.event("invoice.paid") | {"livemode": True}
    assert shop.post(event).status_code == 400
    assert written() == (0, 0, 0, 0)


def test_an_unknown_address_is_not_there(shop, client):
    assert (
        client.post("/stripe/webhook/00000000-0000-0000-0000-000000000000/", "{}", "application/json").status_code
        == 404
    )
    assert client.get(shop.endpoint["url"].removeprefix("http://testserver")).status_code == 405


def test_without_a_key_the_door_is_closed(shop, team, settings):
    shop.buy(team, "plan", "basic")
    settings.STRIPE_SECRET_KEY = ""
    assert shop.post(shop.event("invoice.paid")).status_code == 404
    assert written() == (0, 0, 0, 0)


@pytest.mark.parametrize("place", ["billing.before_handling", "billing.before_grant"])
def test_a_crash_between_inbox_and_grant_loses_and_doubles_nothing(shop, team, place):
    shop.buy(team, "plan", "basic")
    shop.hear(shop.event("invoice.paid"))
    failpoints.arm(f"{place}=raise")
    try:
        assert inbox.work_off() == 0
    finally:
        failpoints.arm("")
    assert not Grant.objects.exists()
    line = StripeEvent.objects.get()
    assert (line.attempts, line.processed_at) == (1, None) and "Broken" in line.last_error
    assert inbox.work_off() == 0  # not due yet
    StripeEvent.objects.update(due_at=line.received_at)
    assert inbox.work_off() == 1
    assert [amount for _, amount, _ in grants_of(team)] == [50_000]


def test_one_stuck_event_holds_up_nobody_and_rings_an_alarm(shop, team, monkeypatch):
    from tenkaigen import alarms

    heard = []
    monkeypatch.setattr(alarms, "ring", lambda name, **facts: heard.append(name))
    inbox.note(event_id="evt_stuck", type="invoice.paid", object_id="in_that_never_was")
    for _ in range(6):
        StripeEvent.objects.filter(pk="evt_stuck").update(due_at="2020-01-01T00:00:00Z")
        inbox.work_off()
    assert heard == ["stripe_event_stuck"]
    shop.buy(team, "plan", "basic")
    shop.hear(shop.event("invoice.paid"))
    assert inbox.work_off() == 1
    assert [amount for _, amount, _ in grants_of(team)] == [50_000]


def test_while_stripe_is_down_events_wait(shop, team):
    shop.buy(team, "plan", "basic")
    shop.hear(shop.event("invoice.paid"))
    shop.fake.down = True
    assert inbox.work_off() == 0
    assert StripeEvent.objects.get().last_error.startswith("StripeUnavailable: ")
    shop.fake.down = False
    inbox.retry(shop.event("invoice.paid")["id"])
    assert inbox.work_off() == 1
    assert len(grants_of(team)) == 1


def serious() -> set[str]:
    return {str(error.id) for error in run_checks() if error.is_serious()}


def test_the_start_is_refused_with_an_endpoint_that_believes_everybody(shop, settings):
    assert serious() == set()
    WebhookEndpoint.objects.update(djstripe_validation_method="none")
    assert serious() == {"tenkaigen.E033"}
    WebhookEndpoint.objects.update(djstripe_validation_method="verify_signature", secret="")
    assert serious() == {"tenkaigen.E033"}


def test_the_start_is_refused_with_a_dangerous_key(shop, settings):
    settings.STRIPE_SECRET_KEY = "pk_live_" + "x" * 24
    assert serious() == {"tenkaigen.E030"}
    settings.STRIPE_SECRET_KEY, settings.STRIPE_LIVE_MODE, settings.DEBUG = "sk_live_" + "x" * 24, True, True
    assert "tenkaigen.E031" in serious()
    settings.DEBUG, settings.EMBEDDED = False, False
    assert "tenkaigen.E032" in serious()


def test_an_event_says_only_where_to_look(shop, team):
    """What an event claims about its object is never believed."""
    shop.buy(team, "plan", "basic")
    event = json.loads(json.dumps(shop.event("invoice.paid")))
    event["data"]["object"]["lines"]["data"][0]["period"]["end"] += 10**8
    event["data"]["object"]["total"] = 1
    shop.hear(event)
    inbox.work_off()
    (grant,) = Grant.objects.filter(wallet__team=team)
    assert int(grant.expires_at.timestamp()) < shop.store.now() + 32 * 86_400
