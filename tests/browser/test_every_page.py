"""Every page at two widths in two themes: nothing on the console, nothing for axe to call serious, nothing cut off."""

import pytest
from django.core.files.storage import default_storage

from accounts.services import create_api_key
from generation.models import Job
from tests.browser.conftest import accessibility_problems
from tests.factories import make_job, make_user, team_of
from tests.integration.pages import complete

STRANGERS = [
    "/",
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
]
MEMBERS = [
    *("/studio", "/gallery", "/jobs", "/account/", "/credits/statement"),
    *("/accounts/logout/", "/accounts/password/change/", "/nothing-here"),
    *("/team/", "/team/activity", "/team/delete", "/teams", "/accounts/2fa/", "/accounts/sessions/"),
    *("/reference-models", "/reference-models/lookbook", "/studio?reference=lookbook"),
    *("/account/delete", "/accounts/reauthenticate/", "/accounts/email/", "/models", "/models/new"),
]  # fmt: skip


def look(page, url: str) -> list[str]:
    """Everything that is wrong with a page."""
    page.goto(url)
    problems = accessibility_problems(page)
    width, seen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return [*problems, *([f"{width} pixels wide, {seen} seen"] if width > seen else [])]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_is_sound(site, open_page, sign_in, width, scheme):
    user = make_user(credits=300)
    jobs = make_jobs(user)
    key, _ = create_api_key(team=team_of(user), user=user, name="site")
    image = jobs[0].images.first()
    screen = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    # Entrances fade, and axe measures colours: without motion there is nothing to wait for.
    page = open_page(**screen, reduced_motion="reduce", expects=("404",))
    problems = {path: look(page, f"{site}{path}") for path in STRANGERS}
    sign_in(page, user)
    own = [f"/jobs/{job.id}" for job in jobs] + [f"/images/{image.id}/delete", f"/account/keys/{key.id}/revoke"]
    problems |= {path: look(page, f"{site}{path}") for path in [*MEMBERS, f"/studio?from={jobs[0].id}", *own]}
    assert {path: found for path, found in problems.items() if found} == {}


def make_jobs(user) -> list[Job]:
    """A finished, a partly blocked, a canceled and a waiting one, with words that do not fit on a line."""
    done = complete(make_job(user, prompt="a sunset " * 40, style="watercolour", product="poster", size="256x384"))
    partly = complete(make_job(user, prompt="x" * 200, count=3), blocked=1)
    canceled = make_job(user, prompt="<b>bold</b> 🦊 מגדלור")
    Job.objects.filter(id=canceled.id).update(status="canceled", finished_at=done.finished_at)
    assert default_storage.exists(done.images.get().key)
    canceled.refresh_from_db()
    return [done, partly, canceled, make_job(user, quality="hd", count=2)]
