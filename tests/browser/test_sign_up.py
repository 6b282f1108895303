"""A newcomer on a server that sends mail: sign up, confirm by the mail's link, and the second step from end to end."""

import re
from collections.abc import Callable

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.core import mail
from django.core.cache import cache
from playwright.sync_api import Page, expect

from accounts.models import User
from credits.services import welcome_centi
from tests.browser.conftest import PASSWORD, accessibility_problems


@pytest.fixture
def confirming(site, settings) -> str:
    """The address of a server that believes no address before its mail was answered, and no staff without a code."""
    cache.clear()
    settings.EMAIL_CONFIRMATION, settings.ACCOUNT_EMAIL_VERIFICATION, settings.STAFF_MFA = True, "mandatory", True
    settings.MFA_TOTP_TOLERANCE = 1  # a busy machine types slowly
    return site


def code_of(secret: str) -> str:
    return totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))


def press(page: Page, name: str) -> None:
    page.locator("main").get_by_role("button", name=name).click()


def sign_in_with(page: Page, site: str, make_code: Callable[[], str]) -> None:
    page.goto(f"{site}/accounts/login/")
    page.get_by_label("Email").fill("new@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Sign in")
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.get_by_label("Code").fill(make_code())
    press(page, "Sign in")
    page.wait_for_url("**/studio")


def sign_out(page: Page, site: str) -> None:
    page.goto(f"{site}/account/")
    press(page, "Sign out")
    page.wait_for_url(f"{site}/")


def test_from_the_sign_up_to_the_second_step(confirming, open_page):
    site, page = confirming, open_page(reduced_motion="reduce", expects=("403", "404"))
    page.goto(f"{site}/accounts/signup/")
    page.get_by_label("Email").fill("new@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Sign up")
    expect(page.get_by_role("heading", name="Check your email")).to_be_visible()
    page.goto(f"{site}/studio")
    assert "/accounts/login/" in page.url
    (link,) = re.findall(r"http\S+/accounts/confirm-email/\S+", mail.outbox[0].body)
    page.goto(link)
    press(page, "Yes, confirm")
    page.wait_for_url("**/studio")
    expect(page.locator("#balance")).to_contain_text(str(welcome_centi() // 100))

    User.objects.filter(email="new@example.com").update(is_staff=True, is_superuser=True)
    page.goto(f"{site}/admin/")
    assert page.url == f"{site}/accounts/2fa/"  # staff must
    page.locator("main").get_by_role("link", name="Switch on").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("main form button").first.click()
    secret = page.locator("#totp-secret").inner_text()
    assert accessibility_problems(page) == []
    page.get_by_label("code").fill(code_of(secret))
    press(page, "Switch on")
    page.goto(f"{site}/accounts/2fa/recovery-codes/")
    recovery = page.locator("#codes").inner_text().split()[0]
    page.goto(f"{site}/admin/")
    assert page.url == f"{site}/admin/"

    for make_code in (lambda: code_of(secret), lambda: recovery):
        sign_out(page, site)
        cache.clear()  # a code is good once, and the one of switching it on is still of this half minute
        sign_in_with(page, site, make_code)
