"""Buying in a real browser, with the fake Stripe's own pages and webhooks in between."""

import re
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from credits import plans
from credits.audit import find_drift
from credits.billing import inbox, offers, sales, setup, tasks
from credits.models import Grant, Hold
from credits.queries import balance_of
from generation.models import Job
from tests.billing import switch_on
from tests.browser.conftest import accessibility_problems
from tests.browser.test_every_page import look
from tests.factories import make_user, team_of
from tests.fake_stripe import FakeStripe, running


@pytest.fixture
def stripe(site: str, settings, monkeypatch) -> Iterator[FakeStripe]:
    """The fake with its webhooks on, and a worker that listens for the bell of the inbox."""
    bell, is_over = threading.Event(), threading.Event()
    monkeypatch.setattr(tasks, "ring", bell.set)

    def work() -> None:
        while not is_over.is_set():
            if bell.wait(0.2):
                bell.clear()
                inbox.work_off()
        connection.close()

    with running(delivers=True) as fake:
        switch_on(fake, settings, monkeypatch)
        policy = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
        allowed = policy | {"form-action": [*policy["form-action"], fake.url]}
        settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": allowed}
        list(setup.run(site_url=site, apply=True))
        thread = threading.Thread(target=work)
        thread.start()
        yield fake
        is_over.set()
        thread.join()
        _wait_for_quiet(fake)


def _wait_for_quiet(fake: FakeStripe) -> None:
    """Webhooks that are still on their way would meet the database of the next test."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and fake.is_posting():
        time.sleep(0.05)


def pay(page: Page, fake: FakeStripe) -> None:
    page.wait_for_url(f"{fake.url}/checkout/**")
    page.get_by_role("button", name="Pay").click()
    page.wait_for_url("**/billing/purchases/**")


def test_a_plan_a_pack_and_a_pass_arrive_without_a_reload(site, stripe, open_page, sign_in):
    user = make_user()
    page = open_page()
    sign_in(page, user)
    page.goto(f"{site}/plans")
    assert accessibility_problems(page) == []
    page.get_by_role("button", name="Choose Basic").click()
    pay(page, stripe)
    expect(page.get_by_text("Your plan is in force")).to_be_visible()
    expect(page.locator("#balance")).to_contain_text("500")
    assert accessibility_problems(page) == []

    page.goto(f"{site}/plans")
    page.get_by_role("button", name="Buy 200 credits", exact=True).click()
    pay(page, stripe)
    expect(page.get_by_text("credits have been added")).to_be_visible()
    expect(page.locator("#balance")).to_contain_text("700")

    page.goto(f"{site}/plans")
    page.get_by_role("button", name="Buy Flash", exact=True).click()
    pay(page, stripe)
    expect(page.get_by_text("Your pass is here")).to_be_visible()
    page.get_by_role("link", name="Your credits").click()
    expect(page.get_by_text("Flash pass")).to_be_visible()

    page.goto(f"{site}/billing")
    expect(page.get_by_text("Next invoice")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("^FAKE-"))).to_be_visible()
    assert accessibility_problems(page) == []
    assert find_drift() == []


def test_an_upgrade_in_the_portal_brings_the_difference(site, stripe, open_page, sign_in):
    user = make_user()
    page = open_page()
    sign_in(page, user)
    page.goto(f"{site}/plans")
    page.get_by_role("button", name="Choose Basic").click()
    pay(page, stripe)
    expect(page.get_by_text("Your plan is in force")).to_be_visible()

    page.goto(f"{site}/plans")
    expect(page.get_by_text("Your plan", exact=True)).to_be_visible()
    page.get_by_role("button", name="Choose Pro").click()
    page.wait_for_url(f"{stripe.url}/portal/**")
    page.get_by_role("button", name="Change to Pro, a month").click()
    page.wait_for_url(f"{site}/billing")
    for _ in range(600):
        if plans.plan_of(team_of(user).pk).slug == "pro":
            break
        page.wait_for_timeout(100)
    page.reload()
    expect(page.get_by_role("heading", name="Pro", exact=True)).to_be_visible()
    (amount,) = Grant.objects.filter(source_ref__startswith="upgrade:").values_list("granted_centi", flat=True)
    assert 149_000 < amount <= 150_000  # the whole month but the seconds since


def test_a_declined_card_costs_nothing_and_one_may_try_again(site, stripe, open_page, sign_in):
    user = make_user()
    page = open_page()
    sign_in(page, user)
    page.goto(f"{site}/plans")
    stripe.store.fails_next_payment = True
    page.get_by_role("button", name="Buy 200 credits", exact=True).click()
    page.wait_for_url(f"{stripe.url}/checkout/**")
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("alert")).to_have_text("Your card was declined.")
    assert not Grant.objects.filter(wallet__team=team_of(user)).exists()
    page.get_by_role("button", name="Pay").click()
    page.wait_for_url("**/billing/purchases/**")
    expect(page.get_by_text("credits have been added")).to_be_visible()


def test_who_runs_out_is_refused_in_words_buys_a_pack_and_goes_on(site, stripe, device, open_page, sign_in):
    user = make_user(credits=6)
    page = open_page(expects=("402",))
    sign_in(page, user)
    page.get_by_label("Describe your picture").fill("a fox by a lake")
    go = page.get_by_role("button", name="Generate", exact=True)
    go.click()
    expect(page.locator(".shot img")).to_be_visible()
    expect(page.locator("#balance")).to_contain_text("0")
    go.click()
    expect(page.get_by_role("alert")).to_contain_text("This costs 6 credits; you have 0.")
    expect(page.get_by_label("Describe your picture")).to_have_value("a fox by a lake")
    assert (Job.objects.count(), Hold.objects.count(), find_drift()) == (1, 1, [])

    page.get_by_role("link", name="See plans and passes").click()
    page.get_by_role("button", name="Buy 200 credits", exact=True).click()
    pay(page, stripe)
    expect(page.locator("#balance")).to_contain_text("200")
    page.goto(f"{site}/studio")
    page.get_by_label("Describe your picture").fill("a fox by a lake")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#balance")).to_contain_text("194")
    expect(page.locator(".shot img")).to_have_count(2)
    assert (balance_of(team_of(user)).available_centi, find_drift()) == (19_400, [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_of_billing_is_sound(site, stripe, open_page, sign_in, width, scheme):
    user = make_user()
    screen = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    page = open_page(**screen, reduced_motion="reduce")
    problems = {"/plans for strangers": look(page, f"{site}/plans")}
    sign_in(page, user)
    offer = offers.find("pack", "200-credits")
    bought, _ = sales.buy(team=team_of(user), user=user, offer=offer, thanks_url=f"{site}/{{purchase}}", back_url=site)
    thanks = f"/billing/purchases/{bought.pk}"
    for path in ("/plans", "/plans?pay=year", "/billing", thanks):
        problems[path] = look(page, f"{site}{path}")
    assert {path: found for path, found in problems.items() if found} == {}
