"""The pages of billing, from the price list to the portal and back; and what they say when billing is off."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership
from credits import plans
from credits.billing import client as client_of_stripe
from credits.billing import customers, sales
from credits.billing.errors import CheckoutUnderWay
from credits.clock import now
from credits.models import Pass, Purchase, StripeCustomer
from tests.factories import make_member, make_user, team_of
from tests.fake_stripe import subscriptions

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return make_user()


@pytest.fixture
def team(user):
    return team_of(user)


@pytest.fixture
def client(user):
    client = Client()
    client.force_login(user)
    return client


def text_of(answer) -> str:
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def press(client, **fields) -> str:
    """Where the button leads."""
    answer = client.post("/billing/buy", fields)
    assert answer.status_code == 302
    return answer["Location"]


def test_without_a_key_everything_says_that_billing_is_off(client):
    for address in ("/plans", "/billing"):
        assert "Billing is off on this server." in text_of(client.get(address))
    assert press(client, kind="pack", slug="200-credits") == "/plans"
    assert "Billing is not set up" in text_of(client.get("/plans"))
    assert client.post("/billing/portal").status_code == 302
    assert not Purchase.objects.filter(session_id__isnull=False).exists()


def test_the_price_list_shows_what_a_month_and_what_a_year_costs(shop, client):
    monthly, yearly = text_of(client.get("/plans")), text_of(client.get("/plans?pay=year"))
    assert "INR 999</strong> a month" in monthly and "INR 9,990</strong> a year" in yearly
    assert "INR 499" in monthly and "200 credits" in monthly and "Flash Lite" in monthly
    assert monthly.count('action="/billing/buy"') == 3 + 2 + 3
    assert "Sign in to buy" in text_of(Client().get("/plans"))
    assert 'action="/billing/buy"' not in text_of(Client().get("/plans"))


def test_members_see_prices_and_no_buttons(shop, team):
    client = Client()
    client.force_login(make_member(team, Membership.Role.MEMBER))
    page = text_of(client.get("/plans"))
    assert "Owners and admins of your team can buy." in page and 'action="/billing/buy"' not in page


def test_a_purchase_goes_to_the_checkout_and_its_credits_appear(shop, team, client):
    url = press(client, kind="pack", slug="200-credits")
    purchase = Purchase.objects.get()
    assert url == f"{shop.fake.url}/checkout/{purchase.session_id}"
    session = shop.store.get(purchase.session_id)
    assert session["success_url"] == f"http://testserver/billing/purchases/{purchase.pk}"
    assert session["customer"] == StripeCustomer.objects.get(team=team).customer_id
    waiting = text_of(client.get(f"/billing/purchases/{purchase.pk}"))
    assert f'hx-get="/billing/purchases/{purchase.pk}/state"' in waiting and "Thank you" in waiting
    assert shop.fake.pay(purchase.session_id)
    assert "hx-get" in text_of(client.get(f"/billing/purchases/{purchase.pk}/state"))  # nobody has told us yet
    shop.deliver_all()
    answer = client.get(f"/billing/purchases/{purchase.pk}/state")
    assert "<strong>200</strong> credits have been added." in text_of(answer)
    assert "hx-get" not in answer.content.decode() and 'id="balance"' in answer.content.decode()


def test_the_customer_is_made_once_and_before_the_checkout(shop, team, client):
    press(client, kind="pack", slug="200-credits")
    press(client, kind="pass", slug="flash")
    assert len(shop.store.all("customer")) == 1
    calls = [path for method, path in shop.fake.calls if method == "POST"]
    assert calls.index("/v1/customers") < calls.index("/v1/checkout/sessions")
    customer = shop.store.all("customer")[0]
    assert customer["metadata"] == {"djstripe_subscriber": str(team.pk)} and customer["email"] == team.email


def test_a_customer_that_was_deleted_at_stripe_is_made_anew(shop, team, client):
    press(client, kind="pack", slug="200-credits")
    shop.store.all("customer")[0]["deleted"] = True
    url = press(client, kind="pack", slug="200-credits")
    assert url.startswith(f"{shop.fake.url}/checkout/")
    assert StripeCustomer.objects.filter(team=team).count() == 2
    assert StripeCustomer.objects.filter(team=team, gone_at=None).count() == 1


def test_whoever_has_a_plan_changes_it_in_the_portal(shop, team, client):
    sub = shop.subscribe(team, "basic")
    page = text_of(client.get("/plans"))
    assert "Your plan<" in page and 'aria-label="Choose Basic"' not in page
    url = press(client, kind="plan", slug="pro", interval="month")
    assert url.startswith(f"{shop.fake.url}/portal/")
    session = shop.store.get(url.rsplit("/", 1)[1])
    (item,) = session["flow"]["subscription_update_confirm"]["items"]
    assert item == {"id": sub["items"]["data"][0]["id"], "price": shop.price("pro")}
    assert Purchase.objects.filter(kind="plan").count() == 1


def test_of_two_checkouts_for_a_plan_one_can_be_paid(shop, team, client):
    first, second = (shop.begin(team, "plan", slug) for slug in ("basic", "pro"))
    assert not shop.fake.pay(first.session_id) and shop.fake.pay(second.session_id)
    assert press(client, kind="plan", slug="basic", interval="month") == "/plans"  # nobody has told us yet
    assert "has a subscription already" in text_of(client.get("/plans"))
    assert len(shop.store.all("subscription")) == 1 and plans.plan_of(team.pk).slug == "pro"
    assert sorted(Purchase.objects.values_list("slug", "state")) == [("basic", "expired"), ("pro", "paid")]


def test_a_plan_whose_bank_takes_its_time_is_not_sold_again(shop, team, client):
    session = shop.store.get(shop.begin(team, "plan", "basic").session_id)
    session["status"], session["payment_status"] = "complete", "unpaid"
    assert press(client, kind="plan", slug="pro", interval="month") == "/plans"
    assert "its bank takes its time" in text_of(client.get("/plans"))
    session["status"] = "expired"
    assert shop.begin(team, "plan", "pro").state == "open"


def test_a_checkout_that_was_never_opened_is_in_nobodys_way(shop, team, client, monkeypatch):
    died = shop.begin(team, "plan", "basic")
    monkeypatch.setattr(sales, "TURN_SECONDS_MAX", 0)
    Purchase.objects.update(session_id=None)
    assert press(client, kind="plan", slug="pro", interval="month") == "/plans"
    assert "in another window" in text_of(client.get("/plans"))
    Purchase.objects.update(created_at=now() - sales.OPENING_MAX)
    assert press(client, kind="plan", slug="pro", interval="month").startswith(shop.fake.url)
    died.refresh_from_db()
    assert died.state == "failed"


def test_a_plan_is_sold_as_soon_as_stripe_is_back(shop, team, client):
    customers.ensure(team)
    shop.fake.down = True
    assert press(client, kind="plan", slug="pro", interval="month") == "/plans"
    shop.fake.down = False
    assert press(client, kind="plan", slug="pro", interval="month").startswith(shop.fake.url)


def test_a_checkout_that_opens_too_late_is_closed(shop, team, monkeypatch):
    really = client_of_stripe.create

    def slowly(*asked, **how):
        Purchase.objects.update(state="failed")  # somebody else took it for dead
        return really(*asked, **how)

    monkeypatch.setattr(client_of_stripe, "create", slowly)
    customers.ensure(team)
    with pytest.raises(CheckoutUnderWay):
        shop.begin(team, "plan", "basic")
    assert [one["status"] for one in shop.store.all("checkout.session")] == ["expired"]


def test_what_is_not_for_sale_is_refused_in_words(shop, client):
    for fields in (
        {},
        {"kind": "plan", "slug": "free", "interval": "month"},
        {"kind": "pack", "slug": "none"},
        {"kind": "car", "slug": "x"},
        {"kind": "pack", "slug": "200-credits\0"},
        {"kind": "plan", "slug": "basic", "interval": "\0"},
    ):
        assert press(client, **fields) == "/plans"
        assert "This is not for sale." in text_of(client.get("/plans"))
    assert not Purchase.objects.exists()


def test_while_stripe_is_down_the_page_says_so_and_nothing_is_bought(shop, client):
    shop.fake.down = True
    assert press(client, kind="pack", slug="200-credits") == "/plans"
    assert "does not answer" in text_of(client.get("/plans"))
    assert not Purchase.objects.exclude(session_id=None).exists()


def test_the_billing_page_shows_plan_next_invoice_and_invoices(shop, team, client):
    sub = shop.subscribe(team, "basic")
    for event in shop.store.events:
        if event["type"] in ("invoice.paid", "customer.subscription.created"):
            assert shop.post(event).status_code == 200
    shop.buy(team, "pass", "flash")
    shop.deliver_all()
    with CaptureQueriesContext(connection) as few:
        page = text_of(client.get("/billing"))
    assert "Next invoice" in page and "INR 999 for a month" in page
    invoice = shop.store.get(sub["latest_invoice"])
    assert f'href="{invoice["hosted_invoice_url"]}"' in page and invoice["number"] in page and "Flash pass" in page
    shop.fake.go_to(sub["items"]["data"][0]["current_period_end"])
    assert shop.post(shop.event("invoice.paid")).status_code == 200
    with CaptureQueriesContext(connection) as more:
        assert text_of(client.get("/billing")).count("FAKE-") == 4  # a link and a label for each of two
    assert len(more) == len(few)


def test_a_failed_payment_is_said_on_the_billing_page(shop, team, client):
    sub = shop.subscribe(team, "basic")
    shop.store.fails_next_payment = True
    shop.fake.go_to(sub["items"]["data"][0]["current_period_end"])
    for kind in ("invoice.payment_failed", "customer.subscription.updated"):
        assert shop.post(shop.event(kind)).status_code == 200
    shop.deliver_all()
    assert "Your last payment did not succeed." in text_of(client.get("/billing"))


def test_a_planned_downgrade_names_no_price_that_will_not_be_asked(shop, team, client):
    sub = shop.subscribe(team, "pro")
    subscriptions.update(shop.store, sub, price=shop.price("basic"))
    assert shop.post(shop.event("customer.subscription.updated")).status_code == 200
    shop.deliver_all()
    page = text_of(client.get("/billing"))
    assert "when the change you asked for begins" in page and "INR 2,999 for a month" not in page


def test_a_cancelled_plan_says_when_it_ends(shop, team, client):
    sub = shop.subscribe(team, "basic")
    subscriptions.update(shop.store, sub, cancel_at_period_end=True)
    assert shop.post(shop.event("customer.subscription.updated")).status_code == 200
    shop.deliver_all()
    page = text_of(client.get("/billing"))
    assert "Ends on" in page and "Next invoice" not in page


def test_the_portal_needs_a_customer(shop, team, client):
    assert client.post("/billing/portal")["Location"] == "/billing"
    assert "nothing to manage yet" in text_of(client.get("/billing"))
    shop.buy(team, "pack", "200-credits")
    assert client.post("/billing/portal")["Location"].startswith(f"{shop.fake.url}/portal/")


def test_a_stranger_does_not_see_a_purchase(shop, team):
    purchase = shop.begin(team, "pass", "flash")
    other = Client()
    other.force_login(make_user())
    for address in (f"/billing/purchases/{purchase.pk}", f"/billing/purchases/{purchase.pk}/state"):
        assert other.get(address).status_code == 404


def test_a_trial_is_for_a_teams_first_plan(shop, team):
    from credits.models import PlanPrice

    PlanPrice.objects.update(trial_days=7, trial_centi=100)
    sub = shop.subscribe(team, "basic")
    assert sub["status"] == "trialing"
    subscriptions.end(shop.store, sub)
    shop.deliver_all()
    assert shop.subscribe(team, "basic")["status"] == "active"


def test_a_session_of_somebody_else_cannot_pay_our_purchase(shop, team):
    """Payment links let the customer write `client_reference_id` themselves."""
    from credits.billing import sales

    dear = shop.begin(team, "pack", "1000-credits")
    cheap = shop.buy(team, "pass", "flash-lite")
    session = shop.store.get(cheap.session_id)
    session["metadata"] = {"purchase": str(dear.pk)}
    session["client_reference_id"] = str(dear.pk)
    sales.deliver(session["id"])
    dear.refresh_from_db()
    assert dear.state == "open" and not Pass.objects.exists()
