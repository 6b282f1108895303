"""Billing in the admin: everything is visible, prices can be edited, and the inbox has a second chance."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from credits.billing import inbox
from credits.models import (
    Dispute,
    Pack,
    PassPrice,
    PassProduct,
    Payment,
    PlanPrice,
    Purchase,
    Refund,
    StripeCustomer,
    StripeEvent,
    StripeSetup,
    Term,
)
from tests.billing import grants_of
from tests.factories import make_user, team_of

pytestmark = pytest.mark.django_db
MODELS = (
    Dispute, Pack, PassPrice, Payment, PlanPrice, Purchase, Refund, StripeCustomer, StripeEvent, StripeSetup, Term,
)  # fmt: skip
EDITABLE = (Pack, PassPrice, PlanPrice)


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def team():
    return team_of(make_user())


def address(model, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def everything(shop, team):
    """A row of each."""
    shop.subscribe(team, "basic", "year")
    shop.fake.dispute(shop.buy(team, "pack", "200-credits").payment_intent or intent_of(shop))
    shop.fake.refund(intent_of(shop), 100)
    shop.deliver_all()
    PassPrice.objects.create(product=PassProduct.objects.get(slug="flash"), stripe_price_id="price_x")
    for event in shop.store.events:
        if event["type"] in ("invoice.paid", "customer.subscription.created"):
            assert shop.post(event).status_code == 200


def intent_of(shop) -> str:
    return shop.store.all("checkout.session")[0]["payment_intent"]


def test_every_page_of_billing_can_be_looked_at(everything, staff):
    mirror = [model for model in admin.site._registry if model._meta.app_label == "djstripe"]
    assert {model.__name__ for model in mirror} == {"Customer", "Subscription", "Invoice", "WebhookEventTrigger"}
    for model in (*MODELS, *mirror):
        row = model.objects.first()
        assert row is not None, model
        assert staff.get(address(model, "changelist"), {"q": "x"}).status_code == 200
        assert staff.get(address(model, "changelist")).status_code == 200
        assert staff.get(address(model, "change", row.pk)).status_code == 200


def test_nothing_but_the_shop_can_be_changed(everything, staff):
    for model in set(MODELS) - set(EDITABLE):
        row = model.objects.first()
        before = model.objects.values().get(pk=row.pk)
        assert staff.get(address(model, "add")).status_code == 403
        assert staff.post(address(model, "change", row.pk), {"state": "paid"}).status_code == 403
        assert staff.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert model.objects.values().get(pk=row.pk) == before


def test_a_price_that_is_sold_keeps_its_amount(shop, staff):
    price = PlanPrice.objects.get(plan__slug="basic", interval="month")
    form = {"price_cents": 1, "stripe_price_id": "price_else", "trial_days": 7, "credits": "25", "is_active": "on"}
    assert staff.post(address(PlanPrice, "change", price.pk), form).status_code == 302
    fresh = PlanPrice.objects.get(pk=price.pk)
    assert (fresh.price_cents, fresh.stripe_price_id) == (99_900, price.stripe_price_id)
    assert (fresh.trial_days, fresh.trial_centi) == (7, 2_500)
    assert staff.post(address(PlanPrice, "delete", price.pk), {"post": "yes"}).status_code == 403


def test_a_pack_takes_credits_as_people_write_them(staff):
    form = {"slug": "big", "name": "Big", "position": 9, "is_active": "on", "price_cents": 100, "currency": "INR"}
    assert staff.post(address(Pack, "add"), form | {"credits": "12.50"}).status_code == 302
    assert Pack.objects.get(slug="big").credit_centi == 1_250
    answer = staff.post(address(Pack, "add"), form | {"slug": "bad", "credits": "a lot"})
    assert answer.status_code == 200 and not Pack.objects.filter(slug="bad").exists()


def test_a_stuck_event_is_tried_again(shop, team, staff):
    shop.buy(team, "pack", "200-credits")
    shop.hear(shop.event("checkout.session.completed"))
    shop.fake.down = True
    inbox.work_off()
    shop.fake.down = False
    event = StripeEvent.objects.get()
    assert event.last_error and inbox.work_off() == 0
    form = {"action": "try_again", "_selected_action": [event.pk]}
    assert b"Will be tried again: 1." in staff.post(address(StripeEvent, "changelist"), form, follow=True).content
    assert inbox.work_off() == 1
    assert [amount for _, amount, _ in grants_of(team)] == [20_000]
