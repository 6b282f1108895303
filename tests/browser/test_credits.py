"""Credits in a real browser: what stands beside the studio, a pass that is started, and a price that changes."""

import os
import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from credits import passes, plans, services
from credits.models import Entry, Grant, Notice, PassProduct, Plan, PriceRule, PriceVersion
from credits.queries import balance_of
from generation.models import Job
from tests.browser.conftest import accessibility_problems
from tests.factories import make_job, make_user, team_of
from tests.integration.pages import complete

PHOTOS = os.environ.get("TENKAIGEN_PHOTOS", "")  # a folder: pictures of the pages for whoever wants to look


def photo(page: Page, name: str) -> None:
    if PHOTOS:
        page.screenshot(path=f"{PHOTOS}/{name}.png", full_page=True)


def issue(team, slug: str, reference: str):
    return passes.issue(team=team, product=PassProduct.objects.get(slug=slug), reference=reference, actor="test")


def with_everything():
    """Somebody with a plan, a running and a waiting pass, jobs that ended and one that waits, and a notice."""
    user = make_user(credits=100)
    team = team_of(user)
    plans.subscribe(team=team, plan=Plan.objects.get(slug="pro"), actor="test")
    passes.activate(team=team, pass_id=issue(team, "flash", "sale-1").pk, actor="test")
    issue(team, "pro", "sale-2")
    done = complete(make_job(user, count=4, size="512x512", quality="hd"), blocked=1)
    make_job(user, count=2, size="512x512")
    make_job(user, count=2, size="512x384", quality="hd")
    Notice.objects.create(
        wallet=team.wallet, kind="expiry", key="1", text="100 of your credits end on 24 Nov 2026. Use them before."
    )
    return user, team, done


def test_a_pass_is_started_from_the_studio_and_counts_down(site, device, open_page, sign_in):
    user = make_user(credits=50)
    team = team_of(user)
    issue(team, "flash-lite", "sale-1")
    page = open_page()
    sign_in(page, user)
    page.get_by_role("link", name="Start the Flash Lite pass").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Its 60 minutes begin now.")
    dialog.get_by_role("button", name="Not yet").click()
    assert not Grant.objects.filter(source="pass").exists()
    page.get_by_role("link", name="Start the Flash Lite pass").click()
    purse = page.locator("#purse")
    purse.locator(".purse__line").evaluate("line => line.dataset.old = ''")
    page.evaluate("htmx.trigger(document.body, 'balance-changed')")  # a job has ended meanwhile
    expect(purse.locator(".purse__line:not([data-old])")).to_be_visible()
    dialog.get_by_role("button", name="Start", exact=True).click()

    expect(purse).to_contain_text("3 of 3 pictures left")
    expect(page.locator("#toasts")).to_contain_text("Your Flash Lite pass runs until")
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^5\d:\d\d$"))
    expect(page.locator("#quote")).to_contain_text("1 from your Flash Lite pass")
    page.get_by_role("radio", name="4", exact=True).check(force=True)
    expect(page.locator("#quote")).to_contain_text("3 from your Flash Lite pass, 1 for 6 credits")

    page.get_by_label("Describe your picture").fill("a fox")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".shot")).to_have_count(4)
    expect(purse).to_contain_text("Used up")
    expect(page.locator("#quote")).to_contain_text("24 credits")
    expect(page.locator("#balance")).to_contain_text("44")


def test_when_the_time_of_a_pass_is_up_the_panel_and_the_price_follow(site, open_page, sign_in):
    user = make_user(credits=50)
    started = passes.activate(team=team_of(user), pass_id=issue(team_of(user), "flash", "s").pk, actor="test")
    page = open_page()
    sign_in(page, user)
    expect(page.locator("#quote")).to_contain_text("1 from your Flash pass")
    Grant.objects.filter(pk=started.grant_id).update(expires_at=timezone.now() + timedelta(seconds=3))
    page.reload()
    expect(page.locator("#quote")).to_contain_text("6 credits")
    expect(page.locator(".pass")).to_have_count(0)


def test_a_change_and_a_click_right_after_it_charge_what_the_page_shows(site, open_page, sign_in):
    """Whoever is faster than the price sends with the price that is on its way, not with the old one."""
    user = make_user(credits=50)
    page = open_page()
    sign_in(page, user)
    page.get_by_label("Describe your picture").fill("a fox")
    page.locator("#id_prompt").blur()
    page.evaluate(
        """() => {
            document.querySelector("[name=count][value='3']").click();
            document.querySelector(".composer__go").click();
            document.querySelector(".composer__go").click();
        }"""
    )
    expect(page.locator("#balance")).to_contain_text("32")
    expect(page.locator(".job")).to_have_count(1)
    assert Job.objects.get().count == 3 and balance_of(team_of(user)).held_centi == 1800


def test_a_price_that_rose_is_shown_before_it_is_charged(site, open_page, sign_in):
    user = make_user(credits=50)
    page = open_page(expects=("409", "ERR_FAILED", "htmx:sendError"))
    sign_in(page, user)
    expect(page.locator("#quote")).to_contain_text("6 credits")
    new = PriceVersion.objects.create(name="new")
    for rule in PriceRule.objects.filter(version__name="2026-11"):
        rule.pk, rule.version = None, new
        rule.value = 10 if rule.name == "image.base" else rule.value
        rule.save()
    PriceVersion.objects.filter(pk=new.pk).update(effective_at=timezone.now())
    page.get_by_label("Describe your picture").fill("a fox")
    # The prompt's change asks for the price again: the question must come after the submit.
    page.route("**/studio/quote", lambda route: route.abort())
    page.locator("#id_prompt").press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("This costs 12 credits now, not 6.")
    assert not Job.objects.exists()
    page.unroute("**/studio/quote")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#balance")).to_contain_text("38")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_credit_pages_are_sound(site, open_page, sign_in, width, scheme):
    user, team, done = with_everything()
    with_history(team)
    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce")
    sign_in(page, user)
    addresses = {
        "credits": "/credits",
        "studio": "/studio",
        "statement": "/credits/statement",
        "plans": "/plans",
        "receipt": f"/jobs/{done.pk}/receipt",
        "job": f"/jobs/{done.pk}",
        "start": f"/passes/{team.passes.get(grant=None).pk}/start",
    }
    problems = {}
    for name, address in addresses.items():
        page.goto(f"{site}{address}")
        wide, seen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        problems[name] = accessibility_problems(page) + ([f"{wide} wide"] if wide > seen else [])
        photo(page, f"{name}-{width}-{scheme}")
    assert {name: found for name, found in problems.items() if found} == {}


def with_history(team) -> None:
    """A month of movements, as the chart shows them."""
    from django.db import connection

    for number in range(12):
        services.adjust(team=team, amount_centi=-9_000, reference=f"use-{number}", actor="test", reason="Correction")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE credits_entry DISABLE TRIGGER USER")
        newest = Entry.objects.filter(wallet__team=team).latest("seq").seq
        for entry in Entry.objects.filter(wallet__team=team):
            ago = timedelta(days=28 * (newest - entry.seq) / newest)
            Entry.objects.filter(pk=entry.pk).update(created_at=timezone.now() - ago)
        cursor.execute("ALTER TABLE credits_entry ENABLE TRIGGER USER")


def test_a_notice_is_put_away(site, open_page, sign_in):
    user, _, _ = with_everything()
    page = open_page()
    sign_in(page, user)
    banner = page.get_by_role("complementary", name="About your credits")
    expect(banner).to_contain_text("100 of your credits end on 24 Nov 2026.")
    banner.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".banner")).to_have_count(0)
    page.goto(f"{site}/gallery")
    expect(page.locator(".banner")).to_have_count(0)
