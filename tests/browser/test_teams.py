"""Two people, two browsers: one invites, the other signs up by the link, joins, and switches between teams."""

import time

import pytest

from accounts import services
from accounts.models import Membership, User
from tests.browser.conftest import PASSWORD, accessibility_problems
from tests.factories import make_user, team_of

PHONE = {"viewport": {"width": 360, "height": 740}, "reduced_motion": "reduce"}


@pytest.mark.parametrize("screen", [{"reduced_motion": "reduce"}, PHONE], ids=["desk", "phone"])
def test_invite_accept_and_switch(site, open_page, sign_in, screen):
    owner = make_user(name="Foxes", email="ana@example.com", credits=5)
    desk = open_page(**screen)
    sign_in(desk, owner)
    desk.goto(f"{site}/team/")
    desk.get_by_label("Email").fill("bob@example.com")
    desk.get_by_label("Role", exact=True).select_option("viewer")
    desk.get_by_role("button", name="Invite").click()
    link = desk.locator("#invitation-link").inner_text()
    assert accessibility_problems(desk) == []
    desk.evaluate("delete Navigator.prototype.clipboard")  # as on a server without https
    desk.get_by_role("button", name="Copy").click()
    assert desk.evaluate("getSelection().toString()") == link

    guest = open_page(**screen)
    guest.goto(link)
    assert guest.url == f"{site}/invitation" and "Join Foxes?" in guest.content()
    assert accessibility_problems(guest) == []
    guest.locator("main").get_by_role("link", name="Sign up").click()
    guest.get_by_label("Email").fill("bob@example.com")
    guest.get_by_label("Password").fill(PASSWORD)
    guest.locator("main").get_by_role("button", name="Sign up").click()
    guest.wait_for_url("**/invitation")
    guest.get_by_role("button", name="Join").click()
    guest.wait_for_url("**/studio")
    guest.get_by_text("You may look at what Foxes makes.").wait_for()
    assert guest.locator("textarea[name=prompt]").count() == 0

    switch_by_keyboard(guest, to="bob")
    guest.locator("textarea[name=prompt]").wait_for()
    assert guest.get_by_label("Team: bob").is_visible()

    bob = User.objects.get(email="bob@example.com")
    assert Membership.objects.get(user=bob, team=team_of(owner)).role == "viewer"
    desk.goto(f"{site}/team/")
    desk.get_by_role("link", name="Remove bob@example.com").click()
    desk.get_by_role("button", name="Remove").click()
    desk.wait_for_url("**/team/")
    assert not Membership.objects.filter(user=bob, team=team_of(owner)).exists()
    guest.reload()
    menu = guest.locator("[data-menu] summary")
    menu.click()
    assert "Foxes" not in guest.locator("[data-menu]").inner_text()


def test_a_double_click_makes_one_team(site, open_page, sign_in, monkeypatch):
    really = services.create_team

    def slowly(**asked):
        time.sleep(1)
        return really(**asked)

    monkeypatch.setattr(services, "create_team", slowly)
    user, page = make_user(), open_page()
    sign_in(page, user)
    page.goto(f"{site}/teams")
    page.get_by_label("Name").fill("Foxes")
    button = page.get_by_role("button", name="Open it")
    button.dblclick(delay=100)
    page.get_by_label("Team: Foxes").wait_for()
    assert user.memberships.filter(team__name="Foxes").count() == 1


def switch_by_keyboard(page, *, to: str) -> None:
    """Open the menu of teams, and leave it, without a mouse; then open it again and choose."""
    menu = page.locator("[data-menu]")
    menu.locator("summary").focus()
    page.keyboard.press("Enter")
    assert menu.get_attribute("open") is not None
    assert accessibility_problems(page) == []
    page.keyboard.press("Escape")
    assert menu.get_attribute("open") is None
    page.keyboard.press("Enter")
    menu.get_by_role("button", name=to).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/studio")
