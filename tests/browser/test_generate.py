"""From a sentence to a picture in a real browser: by hand, by keyboard, and without scripts."""

import re
import time

from playwright.sync_api import Page, expect

from credits.queries import balance_of
from generation.models import Job
from tests.browser.conftest import WAIT_MS, Gate
from tests.factories import make_user, team_of

SUNSET = "a beautiful sunset over mountains"


def submit(page: Page, prompt: str = SUNSET) -> None:
    page.get_by_label("Describe your picture").fill(prompt)
    page.get_by_role("button", name="Generate", exact=True).click()


def test_a_stranger_makes_and_keeps_a_picture(site, device, open_page):
    gate = Gate(device, step=4)
    page = open_page()
    page.goto(site)
    page.get_by_label("Your picture in a sentence").fill(SUNSET)
    page.get_by_role("radio", name="Watercolour").check(force=True)
    page.get_by_role("button", name="Generate").click()

    page.wait_for_url("**/accounts/signup/**")
    expect(page.get_by_text(SUNSET)).to_be_visible()
    page.get_by_label("Email").fill("stranger@example.com")
    page.get_by_label("Password").fill("a long and good one")
    page.locator("main").get_by_role("button", name="Sign up").click()

    page.wait_for_url("**/studio")
    prompt = page.get_by_label("Describe your picture")
    expect(prompt).to_have_value(SUNSET)
    expect(page.get_by_role("radio", name="Watercolour")).to_be_checked()
    expect(page.locator("#quote")).to_contain_text("6 credits")
    page.evaluate("window.isTheSamePage = true")
    prompt.press("Control+Enter")

    card = page.locator(".job")
    expect(card).to_contain_text(re.compile(r"Step \d of 8"))
    expect(card.locator(".stage__rough")).to_be_visible()
    gate.open()
    expect(card.locator(".shot img")).to_be_visible()
    expect(card).to_have_count(1)
    expect(page.locator("#balance")).to_contain_text("94")
    expect(page.locator("#toasts")).to_contain_text("Your picture is ready.")
    assert page.evaluate("window.isTheSamePage")
    # A visible picture may still be on its way; decoded, it is there.
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert card.locator(".shot img").evaluate(width) == 256

    card.hover()
    with page.expect_download() as saving:
        card.get_by_role("link", name="Download").click()
    assert re.fullmatch(r"tenkaigen-a-beautiful-sunset-over-mountains-\d+\.png", saving.value.suggested_filename)
    assert saving.value.path().read_bytes().startswith(b"\x89PNG")

    page.get_by_role("link", name="Gallery").click()
    expect(page.locator(".shot")).to_have_count(1)


def test_a_picture_is_deleted_after_a_question(site, device, open_page, sign_in):
    page = open_page(expects=("404",))  # a picture may still be on its way when it is deleted
    sign_in(page, make_user(credits=20))
    submit(page)
    expect(page.locator(".shot img")).to_be_visible()
    page.goto(f"{site}/gallery")
    delete = page.get_by_role("link", name="Delete")
    delete.focus()
    delete.press("Enter")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".shot")).to_have_count(1)
    delete.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".shot")).to_have_count(0)
    expect(page.get_by_role("heading", name="An empty wall")).to_be_visible()
    expect(page.locator("#toasts")).to_contain_text("Deleted.")


def test_a_double_click_makes_one_job(site, open_page, sign_in):
    user, page = make_user(credits=50), open_page()
    sign_in(page, user)
    page.get_by_label("Describe your picture").fill(SUNSET)
    page.get_by_role("button", name="Generate", exact=True).dblclick()
    expect(page.locator(".job")).to_have_count(1)
    page.wait_for_timeout(500)
    assert Job.objects.count() == 1 and balance_of(team_of(user)).available_centi == 4400
    submit(page)  # the key has been renewed: the same words again are a new request
    expect(page.locator(".job")).to_have_count(2)


def test_a_refusal_is_shown_at_its_field_and_goes_with_the_next_try(site, open_page, sign_in):
    page = open_page(expects=("422",))
    sign_in(page, make_user(credits=50))
    page.get_by_text("Advanced").click()
    page.get_by_label("Seed").fill("-4")
    submit(page)
    seed = page.get_by_label("Seed")
    expect(seed).to_be_focused()
    expect(page.get_by_text("Choose a number from 0 to 4,294,967,295.")).to_be_visible()
    expect(page.get_by_label("Describe your picture")).to_have_value(SUNSET)
    seed.fill("4")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".job")).to_have_count(1)
    expect(page.locator("#composer .error")).to_have_count(0)
    assert Job.objects.get().seed == 4


def test_a_drawing_job_is_canceled_and_costs_nothing(site, device, open_page, sign_in):
    gate = Gate(device, step=3)
    page = open_page()
    sign_in(page, make_user(credits=50))
    submit(page)
    expect(page.locator(".job")).to_contain_text("Drawing")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".job")).to_contain_text("Canceled. You were not charged.")
    gate.open()
    expect(page.locator("#balance")).to_contain_text("50")
    expect(page.locator("#quote")).to_contain_text("of 50")


def test_a_failed_job_says_so_and_can_be_tried_again(site, device, open_page, sign_in, settings):
    settings.JOB_ATTEMPTS_MAX = 1
    device.failures = [RuntimeError("boom")]
    page = open_page()
    sign_in(page, make_user(credits=50))
    submit(page)
    expect(page.locator(".job")).to_contain_text("The picture could not be made. You were not charged.")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".shot img")).to_be_visible()
    expect(page.locator(".job")).to_have_count(1)
    expect(page.locator("#balance")).to_contain_text("44")


def test_a_waiting_card_says_why_and_survives_a_lost_answer(site, open_page, sign_in):
    page = open_page(expects=("ERR_FAILED", "htmx:"))
    page.clock.install()
    sign_in(page, make_user(credits=50))
    asked = []
    page.route(
        "**/progress?*", lambda route: (asked.append(1), route.abort() if len(asked) == 1 else route.continue_())
    )
    submit(page)
    expect(page.locator(".job")).to_contain_text("No worker for Starter is running. Your place is kept.")
    until = time.monotonic() + WAIT_MS / 1000
    while len(asked) < 2 and time.monotonic() < until:
        page.clock.fast_forward(11_000)  # the first answer was lost; the net below asks every ten seconds
        page.wait_for_timeout(200)
    assert len(asked) >= 2
    expect(page.locator(".toast--error")).to_have_count(0)


def wait_until_settled(page) -> None:
    """Wait for htmx to bring new elements to life: some 20 ms after they are seen, too short for a person's hand."""
    page.wait_for_function("() => !document.querySelector('.htmx-request, .htmx-added, .htmx-settling')")


def test_the_expansion_is_seen_edited_and_drawn(site, open_page, sign_in):
    page = open_page()
    sign_in(page, make_user(credits=50))
    page.get_by_label("Describe your picture").fill("a fox")
    page.get_by_role("button", name="See the expansion").click()
    text = page.get_by_label("What the model will read")
    expect(text).to_have_value("a fox, highly detailed, beautiful composition")
    wait_until_settled(page)
    page.get_by_role("radio", name="Neon").check(force=True)
    expect(text).to_have_value("a fox, neon, cyberpunk, glowing lights at night")
    wait_until_settled(page)
    text.fill("a fox in my own words")
    submit(page, "a fox")
    expect(page.locator(".job")).to_have_count(1)
    assert Job.objects.get().expanded_prompt == "a fox in my own words"


def test_the_price_follows_what_is_chosen(site, open_page, sign_in):
    page = open_page()
    sign_in(page, make_user(credits=20))
    expect(page.locator("#quote")).to_contain_text("6 credits")
    page.get_by_role("radio", name="2", exact=True).check(force=True)
    expect(page.locator("#quote")).to_contain_text("12 credits")
    page.get_by_role("radio", name="4", exact=True).check(force=True)
    expect(page.locator("#quote")).to_contain_text("You have 20.")
    page.get_by_label("Product").select_option("poster")
    page.get_by_role("radio", name="1", exact=True).check(force=True)
    expect(page.locator("#quote")).to_contain_text("256×384")


def test_everything_can_be_done_by_keyboard(site, device, open_page, sign_in):
    page = open_page()
    sign_in(page, make_user(credits=50))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Describe your picture")).to_be_focused()
    page.keyboard.type(SUNSET)
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Model")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Browse the looks")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Anime")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.locator(".shot img")).to_be_visible()
    assert Job.objects.get().style == "anime"


def test_without_scripts_everything_essential_works(site, device, open_page):
    page = open_page(java_script_enabled=False, expects=("404",))  # a picture still on its way when it is deleted
    page.goto(site)
    page.get_by_label("Your picture in a sentence").fill(SUNSET)
    page.get_by_role("button", name="Generate").click()
    page.get_by_label("Email").fill("plain@example.com")
    page.get_by_label("Password").fill("a long and good one")
    page.locator("main").get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/studio")
    expect(page.get_by_role("button", name="See the expansion")).to_be_hidden()
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
    for _ in range(150):
        if page.locator(".shot").count():
            break
        page.wait_for_timeout(200)
        page.reload()
    expect(page.locator(".shot img")).to_be_visible()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/gallery")
    expect(page.get_by_role("heading", name="An empty wall")).to_be_visible()


def test_the_theme_is_switched_and_kept(site, open_page):
    page = open_page(color_scheme="light")
    page.goto(site)
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_bar_stands_in_one_line_on_a_tablet(site, open_page, sign_in):
    page = open_page(viewport={"width": 710, "height": 900})
    sign_in(page, make_user(name="The team of the long afternoon"))
    heights = [part.bounding_box()["height"] for part in page.locator(".brand, .nav a, .menu__now, .balance").all()]
    assert len(heights) == 8 and max(heights) < 50
    assert page.evaluate("document.documentElement.scrollWidth") == 710
