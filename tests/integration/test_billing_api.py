"""Billing over REST: programs learn where people pay, and how it went."""

import pytest
from django.test import Client

from accounts import services as account_services
from accounts.models import ApiKey
from credits.models import Purchase
from tests.factories import make_user, team_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return make_user()


@pytest.fixture
def team(user):
    return team_of(user)


@pytest.fixture
def client(user, team):
    key, text = account_services.create_api_key(team=team, user=user, name="till")
    ApiKey.objects.filter(pk=key.pk).update(scopes=["billing"])
    return Client(headers={"X-API-Key": text})


def ask(client, **body):
    return client.post("/api/v1/billing/checkout", body, content_type="application/json")


def test_a_purchase_from_order_to_delivery(shop, team, client):
    answer = ask(client, kind="pack", slug="200-credits")
    assert answer.status_code == 201
    told = answer.json()
    purchase = Purchase.objects.get(pk=told["purchase"]["id"])
    assert told["url"] == f"{shop.fake.url}/checkout/{purchase.session_id}"
    assert (told["purchase"]["state"], told["purchase"]["price_cents"]) == ("open", 49_900)
    assert shop.fake.pay(purchase.session_id)
    shop.deliver_all()
    assert client.get(f"/api/v1/billing/purchases/{purchase.pk}").json()["state"] == "paid"


def test_the_subscription_of_a_team(shop, team, client):
    assert client.get("/api/v1/billing").json() == {
        "plan": "free", "status": None, "interval": None, "next_invoice_at": None, "ends_at": None,
    }  # fmt: skip
    sub = shop.subscribe(team, "pro")
    assert shop.post(shop.event("customer.subscription.created")).status_code == 200
    told = client.get("/api/v1/billing").json()
    assert (told["plan"], told["status"], told["interval"], told["ends_at"]) == ("pro", "active", "month", None)
    assert told["next_invoice_at"].endswith("Z") and sub["status"] == "active"
    refused = ask(client, kind="plan", slug="basic", interval="month")
    assert (refused.status_code, refused.json()["code"]) == (409, "already_subscribed")
    portal = client.post("/api/v1/billing/portal")
    assert portal.status_code == 200 and portal.json()["url"].startswith(f"{shop.fake.url}/portal/")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid"),
        ({"kind": "car", "slug": "x"}, 400, "invalid"),
        ({"kind": "pack", "slug": "none"}, 404, "not_for_sale"),
        ({"kind": "plan", "slug": "basic"}, 404, "not_for_sale"),
        ({"kind": "plan", "slug": "basic", "interval": "week"}, 400, "invalid"),
    ],
)
def test_what_is_refused(shop, client, body, status, code):
    answer = ask(client, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Purchase.objects.exists()


def test_a_server_without_billing_says_so(client):
    assert ask(client, kind="pack", slug="200-credits").json()["code"] == "billing_off"
    assert client.post("/api/v1/billing/portal").json()["code"] == "no_customer"
    assert client.get("/api/v1/billing").status_code == 200
    assert not Purchase.objects.exists()


def test_a_purchase_of_another_team_is_not_there(shop, client):
    other = shop.begin(team_of(make_user()), "pass", "flash")
    for wanted in (other.pk, "nonsense"):
        assert client.get(f"/api/v1/billing/purchases/{wanted}").status_code == 404


def test_while_stripe_is_down_it_may_be_asked_again(shop, client):
    shop.fake.down = True
    answer = ask(client, kind="pack", slug="200-credits")
    assert (answer.status_code, answer.json()["code"]) == (503, "stripe_unavailable")
    assert answer["Retry-After"] == "10"
