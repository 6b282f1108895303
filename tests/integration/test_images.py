"""Pictures: stable links that check the team, files behind links that run out, downloads, the gallery, deleting."""

import re
from uuid import uuid4

import pytest
from django.core import signing
from django.core.files.storage import default_storage
from django.test import Client

from generation import storage
from generation.models import Image
from tests.factories import make_user
from tests.integration.pages import HTMX, client_of, make_completed_job, make_image, make_stranger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


# --- Links ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("variant", "content_type"), [("original", "image/png"), ("preview", "image/webp"), ("thumbnail", "image/webp")]
)
def test_the_stable_link_leads_to_a_short_lived_one(variant, content_type, django_assert_max_num_queries):
    user = make_user(credits=50)
    image, client = make_image(user), client_of(user)
    client.get("/gallery")
    with django_assert_max_num_queries(3):
        answer = client.get(f"/images/{image.id}/{variant}")
    assert answer.status_code == 302 and answer.url.startswith("/files/")
    assert answer.headers["Cache-Control"] == "private, max-age=240"
    file = Client().get(answer.url)  # whoever holds the link, as with a bucket's
    assert b"".join(file.streaming_content) == storage.read(getattr(image, storage.VARIANTS[variant]))
    assert file.headers["Content-Type"] == content_type
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert file.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert file.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert file.headers["Cache-Control"] == "private, max-age=300"
    assert file.headers["Content-Disposition"] == "inline"


def test_a_download_has_a_name_one_can_find_again():
    user = make_user(credits=50)
    image = make_image(user, prompt='A "red" fox, 北斎, by\\a; lake/../etc', seed=5)
    answer = client_of(user).get(f"/images/{image.id}/original?download=1", follow=True)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="tenkaigen-a-red-fox-by-a-lake-etc-5.png"'


def test_a_preview_is_never_a_download():
    user = make_user(credits=50)
    image = make_image(user)
    answer = client_of(user).get(f"/images/{image.id}/preview?download=1", follow=True)
    assert answer.headers["Content-Disposition"] == "inline"


@pytest.mark.parametrize("path", ["original", "preview", "thumbnail", "original?download=1", "delete"])
def test_a_stranger_finds_no_such_picture(path):
    image = make_image(make_user(credits=50))
    assert make_stranger().get(f"/images/{image.id}/{path}").status_code == 404
    assert Client().get(f"/images/{image.id}/{path}").url.startswith("/accounts/login/")


@pytest.mark.parametrize("path", ["key", "huge", "sha256"])
def test_there_are_three_variants_and_no_more(path):
    user = make_user(credits=50)
    assert client_of(user).get(f"/images/{make_image(user).id}/{path}").status_code == 404


def test_a_picture_that_is_not_there_is_not_found():
    assert client_of(make_user()).get(f"/images/{uuid4()}/original").status_code == 404


# --- Files ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("token", ["x", "..%2Fetc", "a:b:c", "signed for something else"])
def test_a_forged_link_opens_nothing(token):
    if token.startswith("signed"):
        token = signing.dumps("ai-generated/1/x.png")
    assert Client().get(f"/files/{token}").status_code == 404


def test_a_link_runs_out(settings):
    url = default_storage.url(make_image(make_user(credits=50)).key)
    assert Client().get(url).status_code == 200
    settings.SIGNED_URL_SECONDS = -1
    assert Client().get(url).status_code == 404


@pytest.mark.parametrize("name", ["ai-generated/1/gone.png", "ai-generated/1/page.html", "no-suffix"])
def test_only_pictures_that_are_there_are_served(name):
    if name.endswith(".html"):
        storage.put(name, b"<script>")
    assert Client().get(default_storage.url(name)).status_code == 404


# --- Gallery --------------------------------------------------------------------------------------------------------
def test_the_gallery_shows_the_teams_pictures_in_few_queries(django_assert_max_num_queries):
    user = make_user(credits=50)
    job, client = make_completed_job(user, count=4), client_of(user)
    client.get("/gallery")
    with django_assert_max_num_queries(4):
        page = client.get("/gallery").content.decode()
    assert page.count('class="shot"') == 4
    assert f"/studio?from={job.id}" in page and "?download=1" in page and "hx-confirm" in page
    assert 'class="shot"' not in make_stranger().get("/gallery").content.decode()


def test_an_empty_gallery_leads_to_the_studio():
    page = client_of(make_user()).get("/gallery").content
    assert b"An empty wall" in page and b'href="/studio"' in page


def test_the_gallery_goes_on_page_by_page(monkeypatch):
    monkeypatch.setattr("generation.queries.gallery_page.__defaults__", (3,))
    user = make_user(credits=90)
    make_completed_job(user, count=4)
    client = client_of(user)
    first = client.get("/gallery").content.decode()
    assert first.count('class="shot"') == 3
    (more,) = re.findall(r'hx-get="(/gallery/more[^"]+)"', first)
    (plain,) = re.findall(r'href="(/gallery\?cursor[^"]+)"', first)
    rest = client.get(more, headers=HTMX).content.decode()
    assert rest.count('class="shot"') == 1 and "<html" not in rest and "/gallery/more" not in rest
    assert client.get(plain).content.decode().count('class="shot"') == 1


def test_a_broken_place_in_the_gallery_leads_to_its_start():
    client = client_of(make_user())
    assert client.get("/gallery?cursor=nonsense").url == "/gallery"
    assert client.get("/gallery/more?cursor=nonsense").status_code == 404


# --- Deleting -------------------------------------------------------------------------------------------------------
def test_deleting_removes_row_and_files(django_capture_on_commit_callbacks):
    user = make_user(credits=50)
    image = make_image(user)
    with django_capture_on_commit_callbacks(execute=True):
        answer = client_of(user).post(f"/images/{image.id}/delete", headers=HTMX)
    assert answer.status_code == 200 and b"Deleted." in answer.content and b"<figure" not in answer.content
    assert not Image.objects.exists()
    assert not any(default_storage.exists(key) for key in storage.files_of(image))


def test_without_scripts_deleting_asks_on_a_page_first():
    user = make_user(credits=50)
    image, client = make_image(user), client_of(user)
    assert b"Delete this picture?" in client.get(f"/images/{image.id}/delete").content
    assert Image.objects.exists()
    assert client.post(f"/images/{image.id}/delete").url == "/gallery"
    assert not Image.objects.exists()


def test_a_stranger_deletes_nothing():
    image = make_image(make_user(credits=50))
    assert make_stranger().post(f"/images/{image.id}/delete").status_code == 404
    assert Client().post(f"/images/{image.id}/delete").status_code == 302
    assert Image.objects.exists()


def test_a_job_without_its_pictures_says_so():
    user = make_user(credits=50)
    image, client = make_image(user), client_of(user)
    client.post(f"/images/{image.id}/delete")
    assert b"Its pictures were deleted." in client.get(f"/jobs/{image.job_id}").content
