"""The whole product: a stranger, a browser, the real model in a process of its own, the real servers between."""

import io
from pathlib import Path

import pytest
from PIL import Image as Pillow

from accounts.models import User
from credits.audit import find_drift
from credits.queries import balance_of
from generation import seed
from tests.browser.conftest import PASSWORD
from tests.factories import team_of
from tests.faults.processes import running, wait_for

PROMPT = "a beautiful sunset over mountains"
START_SECONDS_MAX = 120
PICTURE_MS_MAX = 60_000


@pytest.fixture
def gpu_worker(transactional_db, tmp_path):
    """A GPU worker as `make run` starts it, with the model that is shipped."""
    seed.seed()
    log = tmp_path / "gpu.log"
    with running("gpu_worker", "--device", "cpu", log=log, ENGINE="generation.engine", LEASE_SECONDS="45") as process:
        from generation import events

        wait_for(lambda: _is_idle(events.workers()) or process.poll() is not None, seconds=START_SECONDS_MAX, log=log)
        assert process.poll() is None, log.read_text()[-2000:]
        yield log


def _is_idle(workers: list[dict] | None) -> bool:
    return any(worker["state"] == "idle" for worker in workers or [])


def test_a_stranger_makes_a_first_picture(gpu_worker: Path, live_server, open_page, tmp_path):
    page = open_page()
    page.goto(f"{live_server.url}/accounts/signup/")
    page.get_by_label("Email").fill("stranger@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("main").get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/studio")

    page.locator("textarea[name=prompt]").fill(PROMPT)
    page.locator("main").get_by_role("button", name="Generate").click()
    picture = page.locator("article[id^=job-] img[src*='/images/']").first
    picture.wait_for(timeout=PICTURE_MS_MAX)
    assert page.evaluate("element => element.decode().then(() => element.naturalWidth)", picture.element_handle()) > 0

    page.goto(f"{live_server.url}/gallery")
    with page.expect_download() as download:
        page.locator("a[href*='download']").first.click()
    saved = tmp_path / "picture.png"
    download.value.save_as(saved)
    with Pillow.open(io.BytesIO(saved.read_bytes())) as image:
        assert (image.format, image.size) == ("PNG", (256, 256))

    team = team_of(User.objects.get(email="stranger@example.com"))
    job = team.jobs.get()
    assert (job.prompt, job.status, job.charged_centi) == (PROMPT, "completed", 600)
    assert len(job.model_revision) >= 8 and job.images.count() == 1
    assert balance_of(team).available_centi == 10_000 - 600
    assert find_drift() == []
