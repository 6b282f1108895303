"""A year of one team at Stripe, with its events in any order, late, and up to three times each.

The year is played anew for every seed; each event arrives at a random moment after it happened, so a worker sees
whatever Stripe says by then. In the end everything must be as if each had come once, at once and in order.
"""

import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from credits.audit import find_drift
from credits.billing import client, inbox
from credits.billing.errors import Gone
from credits.models import Clawback, Dispute, Grant, Pass, Payment, PlanPrice, Purchase, StripeEvent, Subscription
from tests.billing import KEY, Shop
from tests.factories import make_user, team_of
from tests.fake_stripe import API_VERSION, FakeStripe, api, subscriptions
from tests.fake_stripe.store import Object, Refused

pytestmark = pytest.mark.django_db

ORDERS = 1_000 if os.environ.get("FAULTS") == "long" else 20
BEGIN = int(datetime(2027, 1, 17, 9, 30, tzinfo=UTC).timestamp())  # a trial of 14 days ends on 31 January
DAY = 86_400
METHODS = {"retrieve": "GET", "list": "GET", "create": "POST", "update": "POST"}


@pytest.fixture
def stripe(settings, monkeypatch) -> Iterator[FakeStripe]:
    """The fake without HTTP: the product's own client calls it as a function, thousands of times."""
    settings.STRIPE_SECRET_KEY, settings.SITE_URL = KEY, "http://testserver"
    fake = FakeStripe(now=BEGIN)
    monkeypatch.setattr(client, "_call", caller(fake))
    yield fake
    fake._server.server_close()


def caller(fake: FakeStripe) -> Callable[..., Object]:
    headers = {"Authorization": f"Bearer {KEY}", "Stripe-Version": API_VERSION}

    def call(kind: str, act: str, *identity: str, params: Any, options: Any = None) -> Object:
        path = "/".join([kind.replace(".", "/"), *identity])
        try:
            return api.answer(fake.store, METHODS[act], path, params, headers, fake.url)
        except Refused as error:
            if error.code != "resource_missing":
                raise
            raise Gone(str(error)) from error

    return call


class Year:
    """The story, and the post that brings its events."""

    def __init__(self, fake: FakeStripe, luck: random.Random | None) -> None:
        self.fake, self.luck = fake, luck
        self.shop = Shop(fake)
        PlanPrice.objects.filter(plan__slug="basic", interval="month").update(trial_days=14, trial_centi=2_500)
        self.team = team_of(make_user())
        self.seen = 0
        self.under_way: list[tuple[int, Object]] = []  # (when it arrives, event)

    def until(self, month: int, day: int, year: int = 2027) -> None:
        """Let time pass, a day at a time, and what is under way arrive."""
        moment = int(datetime(year, month, day, 12, tzinfo=UTC).timestamp())
        while self.fake.store.now() < moment:
            self.fake.go_to(min(moment, self.fake.store.now() + DAY))
            self.arrive()

    def arrive(self, *, everything: bool = False) -> None:
        fresh, self.seen = self.fake.store.events[self.seen :], len(self.fake.store.events)
        for event in fresh:
            if event["type"] in inbox.HANDLERS:
                self.under_way += [(self.fake.store.now() + lag, event) for lag in self.lags()]
        due = [pair for pair in self.under_way if everything or pair[0] <= self.fake.store.now()]
        self.under_way = [pair for pair in self.under_way if pair not in due]
        if self.luck:
            self.luck.shuffle(due)
        for _, event in due:
            self.take(event)

    def lags(self) -> list[int]:
        """When an event arrives, in seconds after it happened: one to three times, some only when the year is over."""
        if self.luck is None:
            return [0]
        return [self.luck.choice((0, 1, 40, 400)) * self.luck.randrange(DAY) for _ in range(self.luck.randint(1, 3))]

    def take(self, event: Object) -> None:
        """As the inbox does, but again and again for the same event, as if the line had been lost."""
        inbox.process(StripeEvent(event_id=event["id"], type=event["type"], object_id=event["data"]["object"]["id"]))

    def invoice(self, place: int) -> str:
        """The payment of an invoice, counted from the first that cost something."""
        paid = [one for one in reversed(self.fake.store.all("invoice")) if one["status"] == "paid" and one["total"]]
        return self.fake.intent_of(paid[place]["id"])

    def play(self) -> None:
        store, shop, fake = self.fake.store, self.shop, self.fake
        shop.buy(self.team, "plan", "basic")
        sub = store.all("subscription")[0]
        self.until(3, 10)
        subscriptions.update(store, sub, price=shop.price("pro"))
        self.until(5, 15)
        subscriptions.update(store, sub, price=shop.price("basic"))
        self.until(6, 29)
        store.fails_next_payment = True
        self.until(7, 3)
        assert sub["status"] == "past_due"
        subscriptions.retry(store, sub)
        self.until(8, 5)
        fake.refund(self.invoice(-1), 29_900)
        self.until(8, 6)
        fake.refund(self.invoice(-1), 10_000)
        shop.buy(self.team, "pack", "200-credits")
        shop.buy(self.team, "pass", "flash")
        self.until(9, 10)
        won = fake.dispute(self.invoice(-1))
        self.until(9, 25)
        fake.close_dispute(won["id"], "won")
        self.until(10, 10)
        lost = fake.dispute(self.invoice(-1))
        self.until(10, 20)
        fake.close_dispute(lost["id"], "lost")
        fake.refund(store.all("checkout.session")[0]["payment_intent"])  # the pass
        self.until(12, 20)
        subscriptions.update(store, sub, cancel_at_period_end=True)
        self.until(1, 17, 2028)
        assert sub["status"] == "canceled"
        self.arrive(everything=True)


def final_state(team: Any) -> dict[str, Any]:
    """Everything that must not depend on the order. Our own ids are left out; Stripe's are the same each time."""
    grants = Grant.objects.filter(wallet__team=team).order_by("source", "source_ref")
    taken: dict[str, int] = {}
    for clawback in Clawback.objects.filter(grant__wallet__team=team, undone_at=None).select_related("grant"):
        reference = clawback.grant.source_ref
        taken[reference] = taken.get(reference, 0) + clawback.revoked_centi + clawback.owed_centi
    return {
        "grants": [
            (
                *(one.source, one.source_ref, one.granted_centi, one.available_centi, one.revoked_centi),
                *(one.expires_at and one.effective_at, one.expires_at, one.payment_ref),  # a pack begins when it comes
            )
            for one in grants
        ],
        "taken": taken,
        "wallet": (team.wallet.available_centi, team.wallet.debt_centi, team.wallet.frozen_reason),
        "plan": list(
            Subscription.objects.values_list("plan__slug", "anchor_at", "ends_at", "external_ref", "grants_monthly")
        ),
        "payments": list(Payment.objects.order_by("pk").values_list("pk", "amount_cents", "refunded_cents")),
        "disputes": list(Dispute.objects.order_by("pk").values_list("pk", "state")),
        "passes": [(one.reference, one.withdrawn_at is not None) for one in Pass.objects.order_by("reference")],
        "purchases": list(Purchase.objects.order_by("name").values_list("kind", "state", "payment_intent")),
    }


def played(stripe: FakeStripe, luck: random.Random | None) -> dict[str, Any]:
    stripe.store.__init__(now=BEGIN)  # type: ignore[misc]
    stripe.store._salt = "year"
    with transaction.atomic():
        year = Year(stripe, luck)
        year.play()
        state = final_state(year.team)
        drift = find_drift()
        transaction.set_rollback(True)
    assert drift == []
    return state


_in_order: dict[str, Any] = {}


@pytest.fixture
def in_order(stripe) -> dict[str, Any]:
    """The year as it should be, played once for all orders."""
    if not _in_order:
        _in_order.update(played(stripe, None))
    return _in_order


def test_the_year_in_order_is_what_the_contract_says(in_order):
    plan = [(ref.partition(":")[0], amount) for source, ref, amount, *_ in in_order["grants"] if source == "plan"]
    months = sorted(str(start)[:10] for source, ref, *_, start, _, _ in in_order["grants"] if ref.startswith("sub:"))
    assert months == [
        "2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30", "2027-07-31",
        "2027-08-31", "2027-09-30", "2027-10-31", "2027-11-30",
    ]  # fmt: skip
    assert sorted(plan)[:2] == [("sub", 50_000)] * 2 and ("trial", 2_500) in plan
    assert sorted(amount for kind, amount in plan if kind == "sub") == [50_000] * 9 + [200_000] * 2
    (upgrade,) = [amount for kind, amount in plan if kind == "upgrade"]
    begin, at, end = (
        int(datetime(2027, *day, tzinfo=UTC).timestamp()) for day in ((2, 28, 9, 30), (3, 10, 12), (3, 31, 9, 30))
    )
    assert upgrade == 150_000 * (end - at) // (end - begin)
    assert [state for _, state in in_order["disputes"]] == ["won", "lost"]
    assert in_order["wallet"][2] and in_order["plan"][0][0] == "basic" and in_order["plan"][0][3] == ""
    assert [withdrawn for _, withdrawn in in_order["passes"]] == [True]
    # 39,900 of 99,900 paise went back, and one whole month is lost in a dispute.
    assert sorted(in_order["taken"].values()) == [50_000 * 39_900 // 99_900, 50_000]


@pytest.mark.parametrize("seed", range(ORDERS))
def test_any_order_ends_as_the_right_one(seed, stripe, in_order):
    assert played(stripe, random.Random(seed)) == in_order
