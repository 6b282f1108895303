"""A browser, a live server, and a worker thread with the fake device; what the console says is evidence."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connection
from playwright.sync_api import Browser, Page, expect

from generation import seed
from generation.worker import Worker
from tests.fake_engine import FakeEngine

# Here it outranks the fixture of the same name that pytest-playwright brings.
from tests.servers import browser_type_launch_args  # noqa: F401

# Playwright's loop lives in the thread of the tests, and Django would take that for an asynchronous view.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
PASSWORD = "correct horse battery"
WAIT_MS = 30_000  # what comes is there in a moment; a machine that stands still gets the time it takes
expect.set_options(timeout=WAIT_MS)
ABORTED = ("htmx:sendAbort", "htmx:afterRequest")  # a newer question took its place; other failures have names, too


@pytest.fixture
def site(transactional_db: None, live_server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server, with a catalogue; its bell rings nowhere unless `device` listens."""
    seed.seed()
    monkeypatch.setattr("generation.bell.ring_now", lambda kind="image": None)
    return live_server.url


@contextmanager
def working(worker: Worker, wait: Callable[[], object]) -> Iterator[None]:
    """The worker looks for jobs in a thread of its own, whenever `wait` returns."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            wait()
            worker.drain()
        connection.close()

    worker.start()
    thread = threading.Thread(target=work)
    thread.start()
    yield
    is_over.set()
    worker.ask_to_stop()
    thread.join()
    worker.stop()


@pytest.fixture
def device(site: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """A worker that draws what is queued, with this engine, in a thread of its own."""
    engine, bell = FakeEngine(), threading.Event()
    engine.step_seconds = 0.05
    monkeypatch.setattr("generation.bell.ring_now", lambda kind="image": bell.set())

    def wait() -> None:
        bell.wait(0.2)
        bell.clear()

    with working(Worker(engine, models=["starter"]), wait):
        yield engine


class Gate:
    """Keeps the device before a step, until the page has shown what it must show while it is drawn."""

    def __init__(self, engine: FakeEngine, step: int) -> None:
        self._event = threading.Event()
        engine.before_step = lambda number: number < step or self._event.wait(2 * WAIT_MS / 1000)

    def open(self) -> None:
        self._event.set()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a window. When the test ends, nobody's console may hold an error that the test did not expect."""
    complaints: list[str] = []
    contexts = []

    def open_one(*, expects: tuple[str, ...] = (), **options: object) -> Page:
        contexts.append(context := browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)

        def note(text: str) -> None:
            if not any(part in text for part in (*ABORTED, *expects)):
                complaints.append(f"{page.url}: {text}")

        page.on("console", lambda said: note(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: note(str(error)))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def sign_in(site: str) -> Callable[[Page, object], None]:
    """Sign somebody in by the form, unseen: how a person does it is in `test_sign_up.py`."""

    def sign(page: Page, user) -> None:
        form = f"{site}/accounts/login/"
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.request.get(form).text())
        asked = {"csrfmiddlewaretoken": token[1], "login": user.email, "password": PASSWORD}
        assert page.request.post(form, form=asked, headers={"Referer": form}, max_redirects=0).status == 302
        page.goto(f"{site}/studio")

    return sign


def accessibility_problems(page: Page) -> list[str]:
    """What axe calls serious or critical, one line each."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
