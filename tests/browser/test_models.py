"""A model of one's own in a real browser, from the first click to the last: with scripts, and without."""

import io
import re
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image as Pillow
from playwright.sync_api import Page, expect

from credits.queries import balance_of
from generation.models import CustomModel, Job, ReferenceModel
from generation.worker import Worker
from tests.browser.conftest import Gate, accessibility_problems, working
from tests.custom import make_reference
from tests.factories import make_user, team_of
from tests.fake_engine import FakeEngine

TRAININGS = (Job.Kind.CREATION, Job.Kind.REFINEMENT)


@pytest.fixture
def trainer(site: str, settings) -> Iterator[FakeEngine]:
    """A worker that trains, with an engine of its own, in a thread of its own. It looks by itself."""
    settings.TRAINING_SAMPLE_STEPS = settings.TRAINING_CHECKPOINT_STEPS = 10
    engine = FakeEngine()
    engine.step_seconds = 0.01
    with working(Worker(engine, models=["starter"], kinds=TRAININGS), lambda: time.sleep(0.1)):
        yield engine


@pytest.fixture
def look(site: str) -> ReferenceModel:
    return make_reference(name="Soft light")


def files(*numbers: int) -> list[dict[str, object]]:
    return [{"name": f"fox-{number}.png", "mimeType": "image/png", "buffer": png(number)} for number in numbers]


def png(number: int) -> bytes:
    """Blocks of noise: no two are alike."""
    blocks = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    content = io.BytesIO()
    Pillow.fromarray(blocks).resize((160, 160), Pillow.Resampling.NEAREST).save(content, "PNG")
    return content.getvalue()


def drop(page: Page, name: str, content: bytes) -> None:
    """Let go of a file over the place for it."""
    page.locator(".dropzone").evaluate(
        """(zone, [name, bytes]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/png" }));
            for (const kind of ["dragover", "drop"])
                zone.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [name, list(content)],
    )


def begin(page: Page, look: ReferenceModel) -> None:
    page.get_by_role("radio", name=look.name).check(force=True)
    page.get_by_role("button", name="Next: name").click()


def prepare(page: Page) -> None:
    """From the name to the last step."""
    page.get_by_label("Name", exact=True).fill("Zuko")
    page.get_by_label("Trigger word").press_sequentially("Zuko")
    expect(page.locator("#word-said")).to_contain_text("small letters")
    page.get_by_label("Trigger word").fill("zuko7")
    expect(page.locator("#word-said")).to_contain_text("zuko7 is yours")
    page.get_by_role("button", name="Next: pictures").click()

    drop(page, "fox-1.png", png(1))
    expect(page.locator("#uploads-said")).to_have_text("1 sent.")
    caption = page.get_by_label("Caption of picture 1")
    caption.fill("zuko7 asleep")  # while others are on their way: what is written stays, and the cursor in it
    page.set_input_files("#id_files", [*files(2, 3), {**files(9)[0], "name": "notes.png", "buffer": b"no picture"}])
    expect(page.locator("#pictures-count")).to_have_text("3 of 40")
    expect(page.locator(".upload--refused")).to_contain_text("notes.png")
    expect(page.locator("#uploads-said")).to_have_text("2 sent, 1 not taken.")
    expect(caption).to_be_focused()
    expect(caption).to_have_value("zuko7 asleep")
    caption.blur()
    expect(page.locator(".lesson__said").first).to_have_text("Kept.")
    assert accessibility_problems(page) == []
    page.get_by_role("link", name="Next: check").click()


def order(page: Page, *, steps: int) -> str:
    """Press the button while the steps are still being written. Returns the price."""
    with page.expect_response("**/training-settings"):
        page.get_by_role("checkbox", name=re.compile("I have the right")).check()
    page.get_by_text("Advanced").click()
    page.get_by_label("Training steps").fill(str(steps))
    page.get_by_role("button", name="Train it").hover()
    page.evaluate("document.getElementById('order-said').dataset.old = ''")
    page.mouse.down()  # it leaves the field, and the price comes while the finger is still on the button
    expect(page.locator("#order-said:not([data-old])")).to_be_attached()
    price = page.locator(".quote__price strong").inner_text()
    page.mouse.up()
    return price


def test_a_model_is_made_watched_drawn_with_refined_rolled_back_and_deleted(
    site, device, trainer, look, open_page, sign_in
):
    user, gate = make_user(credits=500), Gate(trainer, step=30)
    page = open_page(expects=("422",), reduced_motion="reduce")  # axe would measure what fades
    sign_in(page, user)
    page.goto(f"{site}/models")
    page.get_by_role("link", name="New model").click()
    begin(page, look)

    prepare(page)
    price = order(page, steps=60)

    page.wait_for_url(re.compile(r"/models/[0-9a-f-]{36}$"))
    page.evaluate("window.isTheSamePage = true")
    expect(page.locator("#training")).to_contain_text(re.compile(r"Step \d+ of 60"))
    expect(page.locator("#training .chart__line")).to_be_visible()
    gate.open()
    expect(page.locator("#training-samples img")).to_have_count(4)
    expect(page.locator("#version-1")).to_contain_text("in use")
    expect(page.locator("#toasts")).to_contain_text("ready to draw with")
    assert page.evaluate("window.isTheSamePage")
    model = CustomModel.objects.get()
    assert balance_of(team_of(user)).available_centi == 50_000 - round(float(price) * 100)

    page.get_by_role("link", name="Draw with it").click()
    page.get_by_label("Describe your picture").fill("zuko7 on a beach")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".shot img")).to_be_visible()
    drawn = Job.objects.get(kind="image")
    assert (drawn.model_version, len(device.batches[-1].adapters)) == (model.current, 1)

    page.goto(f"{site}/models/{model.id}")
    page.get_by_label("Training steps").fill("50")
    page.get_by_role("button", name="Refine").click()
    expect(page.locator("#version-2")).to_contain_text("in use")
    expect(page.get_by_role("heading", name="Versions side by side")).to_be_visible()
    expect(page.locator(".sheet__sample img")).to_have_count(8)
    page.get_by_role("button", name="Use version 1").click()
    expect(page.locator("#version-1")).to_contain_text("in use")
    model.refresh_from_db()
    assert model.current.number == 1
    page.get_by_role("link", name="Delete version 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#version-2")).to_have_count(0)
    assert accessibility_problems(page) == []

    page.get_by_role("link", name="Delete this model").click()
    page.get_by_label("Type Zuko to delete it").fill("Zuko")
    page.locator("main").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/models")
    expect(page.get_by_role("heading", name="Teach it something of yours")).to_be_visible()


def test_without_scripts_a_model_is_ordered(site, look, open_page):
    page = open_page(java_script_enabled=False, viewport={"width": 390, "height": 800})
    user = make_user(credits=500)
    page.goto(f"{site}/accounts/login/?next=/models/new")
    page.get_by_label("Email").fill(user.email)
    page.get_by_label("Password").fill("correct horse battery")
    page.locator("main").get_by_role("button", name="Sign in").click()
    begin(page, look)
    page.get_by_label("Name", exact=True).fill("Zuko")
    page.get_by_label("Trigger word").fill("zuko7")
    page.get_by_role("button", name="Next: pictures").click()
    page.set_input_files("#id_files", files(1, 2, 3))
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#pictures-count")).to_have_text("3 of 40")
    page.get_by_role("link", name="Next: check").click()
    page.get_by_role("checkbox", name=re.compile("I have the right")).check()
    page.get_by_role("button", name="Train it").click()
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Version 1 was canceled")).to_be_visible()
    assert balance_of(team_of(user)).available_centi == 50_000
