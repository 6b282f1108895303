"""The staff's report under the site's content security policy: plots drawn, nothing on the console, nothing for axe."""

import pytest
from playwright.sync_api import expect

from generation.models import Job
from tests.browser.conftest import accessibility_problems
from tests.factories import make_job, make_user
from tests.integration.pages import complete


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_sound(site, open_page, sign_in, scheme):
    user = make_user(credits=300, is_staff=True, is_superuser=True)
    for count in (1, 3):
        done = complete(make_job(user, count=count))
        Job.objects.filter(id=done.id).update(processing_ms=4000, device_ms=3000)
    page = open_page(color_scheme=scheme, expects=("404",))  # the admin has no icon
    sign_in(page, user)
    page.goto(f"{site}/admin/")
    page.get_by_role("link", name="Report: images").click()
    page.get_by_role("link", name="7 days").click()
    page.wait_for_url("**/?days=7")
    expect(page.get_by_role("img")).to_have_count(6)
    heights = [plot.locator("rect").last.bounding_box()["height"] for plot in page.get_by_role("img").all()]
    assert [height > 50 for height in heights] == [True, False, True, True, False, True]
    assert page.get_by_role("row", name="starter").locator("td").first.inner_text() == "4"
    assert accessibility_problems(page) == []
