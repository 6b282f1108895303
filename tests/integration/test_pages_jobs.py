"""A job's page, card and progress: what they show, to whom, and at what cost."""

import re
from uuid import uuid4

import pytest
from django.test import Client

from credits.queries import balance_of
from generation import events, services, transitions
from generation.events import Progress
from generation.models import Job
from generation.transitions import Failure
from tests.factories import make_job, make_user, team_of
from tests.integration.pages import HTMX, client_of, complete, make_completed_job, make_stranger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


def claim(job: Job) -> Job:
    (claimed,) = transitions.claim(worker="test", models=["starter"], images_max=lambda job: 1)
    assert claimed == job
    return claimed


def fail(job: Job) -> None:
    transitions.fail(claim(job), Failure("engine", "The picture could not be made."))
    job.refresh_from_db()


def poll_url(page: bytes) -> str:
    """The address a waiting card asks next, as it stands in the page."""
    (url,) = re.findall(r'hx-get="(/jobs/[^"]+/progress[^"]*)"', page.decode())
    return url.replace("&amp;", "&")


# --- Who may see what -----------------------------------------------------------------------------------------------
PAGES = ["", "/card", "/progress", "/preview"]
ACTS = ["/cancel", "/retry"]


@pytest.mark.parametrize("page", [*PAGES, *ACTS])
def test_a_stranger_finds_no_such_job(page):
    job = make_job(make_user(credits=20))
    stranger = make_stranger()
    answer = stranger.post(f"/jobs/{job.id}{page}") if page in ACTS else stranger.get(f"/jobs/{job.id}{page}")
    assert answer.status_code == 404
    assert b"belongs to another team" in answer.content
    job.refresh_from_db()
    assert job.status == "queued"


@pytest.mark.parametrize("page", ["", "/card", "/progress", *ACTS])
def test_a_visitor_is_led_to_the_sign_in(page):
    job = make_job(make_user(credits=20))
    url = f"/jobs/{job.id}{page}"
    answer = Client().post(url) if page in ACTS else Client().get(url)
    assert answer.status_code == 302 and answer.url.startswith("/accounts/login/")


def test_a_job_that_is_not_there_is_not_found():
    assert client_of(make_user()).get(f"/jobs/{uuid4()}").status_code == 404


# --- The page -------------------------------------------------------------------------------------------------------
def test_a_finished_job_shows_pictures_both_prompts_settings_and_receipt():
    user = make_user(credits=50)
    job = make_completed_job(user, count=3, style="neon", negative_prompt="clouds", seed=40)
    page = client_of(user).get(f"/jobs/{job.id}").content.decode()
    assert page.count('class="shot"') == 3
    assert "a red fox by a lake, neon, cyberpunk, glowing lights at night" in page and "clouds" in page
    assert all(f"<dd>{seed} <a" in page for seed in (40, 41, 42))
    assert "<strong>18 credits</strong>" in page and "0 credits" in page
    assert f'href="/studio?from={job.id}"' in page
    assert "hx-get" not in page  # nothing left to wait for


def test_pictures_that_were_kept_back_are_mentioned_and_not_charged():
    user = make_user(credits=50)
    job = complete(make_job(user, count=2), blocked=1)
    page = client_of(user).get(f"/jobs/{job.id}").content.decode()
    assert "Picture 2 is not shown and was not charged: It was blank." in page
    assert "<dd>12 credits</dd>" in page and "<strong>6 credits</strong>" in page and "<dd>6 credits</dd>" in page


def test_a_failed_job_says_what_happened_and_that_it_cost_nothing():
    user = make_user(credits=50)
    job = make_job(user)
    fail(job)
    page = client_of(user).get(f"/jobs/{job.id}").content.decode()
    assert "The picture could not be made. <strong>You were not charged.</strong>" in page and "Try again" in page


def test_words_of_people_are_never_markup():
    user = make_user(credits=50)
    job = make_job(
        user, prompt='<img src=x onerror="alert(1)">', expanded_prompt="<b hx-get=/x>", negative_prompt="<i>"
    )
    page = client_of(user).get(f"/jobs/{job.id}").content.decode()
    assert "<img src=x" not in page and "<b hx-get" not in page and "<i>" not in page


# --- Progress -------------------------------------------------------------------------------------------------------
def test_an_unchanged_card_costs_no_sql(django_assert_num_queries):
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    events.publish([job.id], Progress("queued", position=3, seconds_left=9, reason="2 ahead of you."))
    url = poll_url(client.get("/studio").content)
    with django_assert_num_queries(0):
        answer = client.get(url, headers=HTMX)
    assert answer.status_code == 200 and "HX-Retarget" not in answer.headers
    text = answer.content.decode()
    assert text.count("<div") == 1 and f'id="job-{job.id}-progress"' in text
    assert "2 ahead of you. About 9 s." in text and "delay:900ms" in text
    with django_assert_num_queries(0):
        assert client.get(poll_url(answer.content), headers=HTMX).status_code == 200


def test_an_early_answer_is_as_guarded_as_any_other():
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    url = poll_url(client.get("/studio").content)
    late = client.get(url, headers=HTMX)
    events.publish([job.id], Progress("queued", position=1))
    early = client.get(url, headers=HTMX)
    for name in ("Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Cache-Control"):
        assert early.headers[name] == late.headers[name], name
    assert Client().get(url, headers=HTMX).content == early.content  # the ticket is enough
    assert client.post(url, headers=HTMX).status_code == 405


def test_steps_and_rough_pictures_cost_no_sql(django_assert_num_queries):
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    claim(job)
    events.publish([job.id], Progress("processing", "drawing", 3, 8, has_preview=True), [b"rough"])
    url = poll_url(client.get("/studio").content)
    with django_assert_num_queries(0):
        text = client.get(url, headers=HTMX).content.decode()
    assert "Step 3 of 8" in text and '<progress value="3" max="8"' in text
    (rough,) = re.findall(r'data-rough="([^"]+)"', text)
    with django_assert_num_queries(0):
        picture = client.get(rough.replace("&amp;", "&"))
    assert picture.content == b"rough" and picture.headers["Content-Type"] == "image/webp"
    assert "private" in picture.headers["Cache-Control"]


def test_a_change_of_status_brings_the_whole_card():
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    url = poll_url(client.get("/studio").content)
    claim(job)
    events.publish([job.id], Progress("processing", "loading"))
    answer = client.get(url, headers=HTMX)
    assert answer.headers["HX-Retarget"] == f"#job-{job.id}" and answer.headers["HX-Reswap"] == "outerHTML"
    assert b"The model is loading" in answer.content and b"job--processing" in answer.content
    assert b'id="balance"' not in answer.content


def test_the_end_brings_pictures_balance_and_a_word(django_assert_max_num_queries):
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    url = poll_url(client.get("/studio").content)
    complete(job)
    events.publish([job.id], Progress("completed"))
    with django_assert_max_num_queries(8):
        answer = client.get(url, headers=HTMX)
    text = answer.content.decode()
    assert 'class="shot"' in text and 'id="balance"' in text and "<strong>44</strong>" in text
    assert "Your picture is ready." in text and "hx-get" not in text
    assert "balance-changed" in str(answer.headers)


def test_on_its_own_page_the_details_change_with_the_card():
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    url = poll_url(client.get(f"/jobs/{job.id}").content)
    complete(job)
    events.publish([job.id], Progress("completed"))
    text = client.get(url, headers=HTMX).content.decode()
    assert f'id="job-{job.id}-details"' in text and "<strong>6 credits</strong>" in text


def test_without_redis_the_card_is_still_right(monkeypatch):
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    monkeypatch.setattr(events, "_try", lambda call, otherwise: otherwise)
    url = poll_url(client.get("/studio").content)
    text = client.get(url, headers=HTMX).content.decode()
    assert "You are next." in text and "<article" not in text
    complete(job)
    assert "Your picture is ready." in client.get(url, headers=HTMX).content.decode()


@pytest.mark.parametrize("token", ["", "forged", "a:b:c"])
def test_a_bad_ticket_means_a_look_into_the_database(token):
    user = make_user(credits=50)
    job = make_job(user)
    events.publish([job.id], Progress("queued", position=1, reason="You are next."))
    assert client_of(user).get(f"/jobs/{job.id}/progress?token={token}", headers=HTMX).status_code == 200
    assert make_stranger().get(f"/jobs/{job.id}/progress?token={token}", headers=HTMX).status_code == 404
    assert "HX-Redirect" in Client().get(f"/jobs/{job.id}/progress?token={token}", headers=HTMX).headers
    assert Client().get(f"/jobs/{job.id}/preview?token={token}").status_code == 404


def test_a_ticket_is_good_for_its_own_job_only():
    user = make_user(credits=50)
    watched = make_job(user)
    url = poll_url(client_of(user).get("/studio").content)
    other = make_job(make_user(credits=50))
    events.publish([other.id], Progress("queued", position=1, reason="secret"))
    answer = Client().get(url.replace(str(watched.id), str(other.id)), headers=HTMX)
    assert b"secret" not in answer.content


def test_signing_out_ends_the_tickets():
    user = make_user(credits=50)
    job, client = make_job(user), client_of(user)
    events.publish([job.id], Progress("queued", position=1, reason="You are next."))
    url = poll_url(client.get("/studio").content)
    assert b"You are next." in client.get(url, headers=HTMX).content
    client.post("/accounts/logout/")
    assert b"You are next." not in client.get(url, headers=HTMX).content


# --- Acts -----------------------------------------------------------------------------------------------------------
def test_canceling_gives_the_credits_back_at_once():
    user = make_user(credits=50)
    job = make_job(user)
    answer = client_of(user).post(f"/jobs/{job.id}/cancel", headers=HTMX)
    text = answer.content.decode()
    assert "Canceled. You were not charged." in text and "<strong>50</strong>" in text
    assert balance_of(team_of(user)).available_centi == 5000


def test_canceling_too_late_shows_what_became_of_it():
    user = make_user(credits=50)
    job = make_completed_job(user)
    answer = client_of(user).post(f"/jobs/{job.id}/cancel", headers=HTMX)
    assert answer.status_code == 409 and b"completed already" in answer.content and b'class="shot"' in answer.content


def test_without_scripts_canceling_ends_on_the_jobs_page():
    user = make_user(credits=50)
    job = make_job(user)
    answer = client_of(user).post(f"/jobs/{job.id}/cancel", follow=True)
    assert answer.redirect_chain == [(f"/jobs/{job.id}", 302)]
    assert answer.content.count(b"Canceled. You were not charged.") == 2  # on the card, and as a message


def test_trying_again_puts_a_new_job_in_the_old_ones_place():
    user = make_user(credits=50)
    job = make_job(user)
    fail(job)
    answer = client_of(user).post(f"/jobs/{job.id}/retry", headers=HTMX)
    new = Job.objects.exclude(id=job.id).get()
    assert f'<article id="job-{new.id}"' in answer.content.decode()
    assert (new.status, new.prompt, new.seed) == ("queued", job.prompt, job.seed)


def test_trying_again_on_its_own_page_leads_to_the_new_one():
    user = make_user(credits=50)
    job = make_job(user)
    services.cancel_job(job)
    answer = client_of(user).post(f"/jobs/{job.id}/retry?on=page", headers=HTMX)
    assert answer.headers["HX-Redirect"] == f"/jobs/{Job.objects.exclude(id=job.id).get().id}"


def test_trying_again_without_credits_is_refused_in_words():
    user = make_user(credits=6)
    job = make_job(user)
    services.cancel_job(job)
    make_job(user)
    answer = client_of(user).post(f"/jobs/{job.id}/retry", headers=HTMX)
    assert answer.status_code == 402 and b"toast--error" in answer.content
    assert Job.objects.count() == 2


# --- The list -------------------------------------------------------------------------------------------------------
def test_the_list_shows_failed_jobs_too_and_filters(django_assert_max_num_queries):
    user = make_user(credits=90)
    failed = make_job(user, prompt="one that fails")
    fail(failed)
    make_completed_job(user, prompt="one that works")
    client = client_of(user)
    client.get("/jobs")
    with django_assert_max_num_queries(5):
        page = client.get("/jobs").content.decode()
    assert "one that fails" in page and "one that works" in page
    only = client.get("/jobs?status=failed").content.decode()
    assert "one that fails" in only and "one that works" not in only
    assert "one that" not in make_stranger().get("/jobs").content.decode()


def test_the_list_goes_on_page_by_page(monkeypatch):
    monkeypatch.setattr("generation.views.jobs.HISTORY_PAGE", 2)
    user = make_user(credits=90)
    for number in range(3):
        make_job(user, prompt=f"number {number}")
    client = client_of(user)
    page = client.get("/jobs").content.decode()
    assert "number 2" in page and "number 1" in page and "number 0" not in page
    (more,) = re.findall(r'hx-get="(/jobs/more[^"]+)"', page)
    rest = client.get(more.replace("&amp;", "&"), headers=HTMX).content.decode()
    assert "number 0" in rest and "number 1" not in rest and "<html" not in rest and "/jobs/more" not in rest


def test_a_broken_place_in_the_list_leads_to_its_start():
    client = client_of(make_user())
    assert client.get("/jobs?cursor=nonsense").url == "/jobs"
    assert client.get("/jobs/more?cursor=nonsense").status_code == 404
    assert client.get("/jobs?status=nonsense").status_code == 200
