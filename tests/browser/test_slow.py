"""Pages on a slow line: answers that come late, in another order, or never."""

import contextlib
import re

from playwright.sync_api import APIResponse, Error, Page, Route, expect

from generation import transitions
from generation.models import CustomModel, Job
from tests.custom import make_draft, make_reference
from tests.factories import make_training_job, make_user


class Held:
    """Answers to these requests, given by the server and not yet by the line."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.answers: list[tuple[Route, APIResponse]] = []
        page.route(address, lambda route: self.answers.append((route, route.fetch())))

    def wait_for(self, count: int) -> None:
        for _ in range(600):
            if len(self.answers) >= count:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{len(self.answers)} of {count} requests came")

    def let_go(self, number: int) -> None:
        route, response = self.answers[number]
        with contextlib.suppress(Error):  # the page has given it up for a newer one
            route.fulfill(response=response)

    def end(self) -> None:
        self.page.unroute(self.address)


def test_a_late_answer_takes_nothing_back_in_the_studio(site, open_page, sign_in):
    make_reference(name="Soft light")
    page = open_page(expects=("422",))
    sign_in(page, make_user(credits=500))
    prompt, quote = page.get_by_label("Describe your picture"), page.locator("#quote")
    generate = page.get_by_role("button", name="Generate", exact=True)

    choose_two_styles(page)
    choose_another_model(page)

    # A click that waits for the price shows it; the card brings no price for what has been changed since.
    quotes, submits = Held(page, "**/studio/quote"), Held(page, "**/studio/submit")
    page.get_by_role("radio", name="2", exact=True).check(force=True)
    generate.click()
    expect(generate).to_have_attribute("aria-busy", "true")
    quotes.wait_for(1)
    quotes.end()
    quotes.let_go(0)
    submits.wait_for(1)
    expect(generate).not_to_have_attribute("aria-busy", "true")
    page.get_by_role("radio", name="4", exact=True).check(force=True)
    expect(quote).to_contain_text("36 credits")
    submits.let_go(0)
    expect(page.locator(".job")).to_have_count(1)
    expect(page.locator("#purse")).to_contain_text("18 set aside")
    expect(quote).to_contain_text("36 credits")

    # A refusal leaves what was written after the click.
    page.get_by_label("Seed").fill("-4")
    generate.click()
    submits.wait_for(2)
    prompt.fill("a wolf")
    submits.let_go(1)
    expect(page.get_by_text("Choose a number from 0 to 4,294,967,295.")).to_be_visible()
    expect(prompt).to_have_value("a wolf")
    assert Job.objects.get().count == 2


def choose_two_styles(page: Page) -> None:
    """The text follows the one that was chosen last."""
    page.get_by_label("Describe your picture").fill("a fox")
    page.get_by_role("button", name="See the expansion").click()
    text = page.get_by_label("What the model will read")
    expect(text).to_have_value("a fox, highly detailed, beautiful composition")
    page.wait_for_function("() => !document.querySelector('.htmx-request, .htmx-added, .htmx-settling')")
    expansions = Held(page, "**/studio/expand")
    page.get_by_role("radio", name="Anime").check(force=True)
    expansions.wait_for(1)
    page.get_by_role("radio", name="Neon").check(force=True)
    page.wait_for_timeout(100)
    expansions.let_go(0)
    expansions.wait_for(2)
    expansions.let_go(1)
    expect(text).to_have_value("a fox, neon, cyberpunk, glowing lights at night")
    expansions.end()


def choose_another_model(page: Page) -> None:
    """What can be set goes back to its defaults, and the price goes along."""
    quote = page.locator("#quote")
    page.get_by_text("Advanced").click()
    page.get_by_label("Size").select_option("512x512")
    expect(quote).to_contain_text("512×512")
    settings = Held(page, "**/studio/settings")
    with page.expect_response("**/studio/quote"):
        page.get_by_role("combobox", name="Model").select_option(label="Soft light")
    settings.wait_for(1)
    settings.let_go(0)
    expect(page.get_by_label("Size")).to_have_value("")
    expect(quote).to_contain_text("256×256")


def test_a_job_is_canceled_while_its_card_changes(site, open_page, sign_in):
    page = open_page()
    sign_in(page, make_user(credits=50))
    questions = Held(page, "**/progress?*")
    page.get_by_label("Describe your picture").fill("a fox")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".job--queued")).to_be_visible()
    transitions.claim(worker="test", models=["starter"], images_max=lambda job: 1)
    questions.wait_for(1)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_timeout(100)
    questions.let_go(0)
    expect(page.locator(".job--canceled")).to_be_visible()
    assert Job.objects.get().status == "canceled"


def test_words_outlive_a_session_that_ended(site, open_page, sign_in):
    page, user = open_page(), make_user(credits=50)
    sign_in(page, user)
    page.get_by_label("Describe your picture").fill("a long thought")
    page.context.clear_cookies(name="session")  # signed out in another tab
    page.get_by_role("button", name="Generate", exact=True).click()
    page.wait_for_url("**/accounts/login/?next=%2Fstudio")
    sign_in(page, user)
    prompt = page.get_by_label("Describe your picture")
    expect(prompt).to_have_value("a long thought")
    page.reload()
    expect(prompt).to_have_value("")
    # A page out of the back button's memory whose click had led away: its button would wait for ever.
    with page.expect_navigation():
        page.evaluate(
            """() => {
                document.getElementById("composer").classList.add("htmx-request");
                dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
            }"""
        )


def test_pictures_and_captions_on_a_slow_line(site, open_page, sign_in):
    user = make_user(credits=50)
    model = make_draft(user, pictures=4)
    page = open_page(expects=("404", "503", "htmx:"))  # the draft's pictures are rows without files
    sign_in(page, user)
    page.goto(f"{site}/models/{model.id}/pictures")

    # Two are taken away at once, and the answers come the other way round.
    removals = Held(page, "**/remove")
    page.get_by_role("button", name="Remove picture 1").click()
    page.get_by_role("button", name="Remove picture 2").click()
    removals.wait_for(2)
    caption = page.get_by_label("Caption of picture 4")
    caption.fill("half a sen")
    removals.let_go(1)
    removals.let_go(0)
    expect(page.locator("#pictures-count")).to_contain_text("2 of")
    expect(page.locator(".lesson")).to_have_count(2)
    last = page.get_by_label("Caption of picture 2")
    expect(last).to_have_value("half a sen")
    expect(last).to_be_focused()
    assert model.pictures.count() == 2

    # Of two changes during one look none is lost.
    looks = Held(page, "**/pictures/grid")
    page.evaluate("htmx.trigger('#pictures', 'pictures-changed')")
    looks.wait_for(1)
    page.evaluate("htmx.trigger('#pictures', 'pictures-changed')")
    looks.let_go(0)
    looks.wait_for(2)
    looks.let_go(1)
    looks.end()

    # What could not be kept says so, and can be sent again.
    page.route("**/caption", lambda route: route.fulfill(status=503))
    last.blur()
    expect(page.locator("#toasts")).to_contain_text("That did not work.")
    page.unroute("**/caption")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".lesson__said").last).to_have_text("Kept.")
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    assert model.pictures.order_by("position").last().caption == "half a sen"


def test_a_training_is_canceled_by_an_answer_to_a_question_of_before(site, open_page, sign_in):
    """The page is redrawn while the dialog is open and a new name half written."""
    user = make_user(credits=500)
    make_training_job(user)
    model = CustomModel.objects.get()
    page = open_page(expects=("404",))  # its pictures are rows without files
    sign_in(page, user)
    page.goto(f"{site}/models/{model.id}")
    page.get_by_text("Rename").click()
    page.get_by_label("Name", exact=True).fill("Half a na")
    page.get_by_role("button", name="Cancel").click()
    page.evaluate("document.getElementById('model').dataset.old = ''")
    transitions.claim(worker="test", models=["starter"], kinds=[Job.Kind.CREATION], images_max=lambda job: 1)
    expect(page.locator("#model:not([data-old])")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    expect(page.get_by_role("heading", name=re.compile("was canceled"))).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Half a na")
    assert Job.objects.get().status == "canceled"
