"""What the tests of billing share: the fake Stripe switched on, teams that buy, and events that arrive.

def test_something(stripe):          # the fixture of `tests/conftest.py`
    shop = Shop(stripe)
    sub = shop.subscribe(team, "basic")
    shop.deliver_all()
"""

import json
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.test import Client

from accounts.models import Team
from credits.billing import inbox, offers, sales, setup
from credits.models import Grant, PlanPrice, Purchase, StripeEvent
from tests.fake_stripe import FakeStripe
from tests.fake_stripe.server import signature
from tests.fake_stripe.store import Object, public

KEY = "sk_test_" + "f" * 24
SITE = "http://testserver"


class Shop:
    """A server whose plans stand at the fake Stripe, with its endpoint there."""

    def __init__(self, fake: FakeStripe) -> None:
        self.fake = fake
        self.store = fake.store
        list(setup.run(site_url=SITE, apply=True))
        self.endpoint = self.store.all("webhook_endpoint")[0]
        self.store.events.clear()  # of making products and prices

    def price(self, plan: str, interval: str = "month") -> str:
        return PlanPrice.objects.get(plan__slug=plan, interval=interval, is_active=True).stripe_price_id

    def begin(self, team: Team, kind: str, slug: str, interval: str = "") -> Purchase:
        offer = offers.find(kind, slug, interval or ("month" if kind == "plan" else ""))
        purchase, _ = sales.buy(team=team, user=None, offer=offer, thanks_url=f"{SITE}/{{purchase}}", back_url=SITE)
        purchase.refresh_from_db()
        return purchase

    def buy(self, team: Team, kind: str, slug: str, interval: str = "") -> Purchase:
        """Bought and paid, but nothing was heard of it yet."""
        purchase = self.begin(team, kind, slug, interval)
        assert self.fake.pay(purchase.session_id)
        return purchase

    def subscribe(self, team: Team, plan: str, interval: str = "month") -> Object:
        """The subscription at Stripe, delivered."""
        self.buy(team, "plan", plan, interval)
        self.deliver_all()
        return self.store.all("subscription")[0]

    def hear(self, event: Object) -> None:
        """Work one event off as if it had come, without dj-stripe in between."""
        inbox.note(event_id=event["id"], type=event["type"], object_id=event["data"]["object"]["id"])

    def deliver_all(self, events: Iterable[Object] | None = None) -> None:
        """Let events come, and the worker do what they ask for."""
        for event in list(self.store.events) if events is None else events:
            if event["type"] in inbox.HANDLERS:
                self.hear(event)
        inbox.work_off()
        stuck = StripeEvent.objects.filter(processed_at=None).values_list("type", "last_error")
        assert not stuck, list(stuck)

    def post(self, event: Object, *, client: Client | None = None, **changes: Any) -> Any:
        """Post an event as Stripe does, through dj-stripe; `secret`, `at` and `body` may be a forger's."""
        body = changes.get("body") or json.dumps(public(event)).encode()
        signed = signature(body, changes.get("secret", self.endpoint["secret"]), changes.get("at"))
        address = self.endpoint["url"].removeprefix(SITE)
        headers = {"Stripe-Signature": changes.get("signature", signed)}
        return (client or Client()).post(address, body, content_type="application/json", headers=headers)

    def event(self, kind: str) -> Object:
        """The newest event of a kind."""
        return next(event for event in reversed(self.store.events) if event["type"] == kind)


def grants_of(team: Team) -> list[tuple[str, int, int]]:
    """(reference, granted, revoked) of everything a team got by paying, in order."""
    rows = Grant.objects.filter(wallet__team=team).exclude(source=Grant.Source.BONUS).order_by("pk")
    return list(rows.values_list("source_ref", "granted_centi", "revoked_centi"))


def switch_on(fake: FakeStripe, settings_of_test: Any, monkeypatch: Any) -> None:
    """Point us, and dj-stripe, at the fake."""
    import stripe

    settings_of_test.STRIPE_SECRET_KEY = KEY
    settings_of_test.STRIPE_LIVE_MODE = False
    settings_of_test.STRIPE_API_HOST = fake.url
    settings_of_test.SITE_URL = SITE
    monkeypatch.setattr(stripe, "api_base", fake.url)
    assert settings.STRIPE_SECRET_KEY == KEY
