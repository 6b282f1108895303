"""The studio and the front door, by owner and stranger, with good and bad input, with and without scripts."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from credits.models import Hold
from credits.queries import balance_of
from generation import queries
from generation.models import ImageModel, Job
from generation.views.drafts import SESSION_KEY
from tests.factories import allow, make_job, make_user, team_of
from tests.integration.pages import HTMX, client_of, make_completed_job, make_stranger, studio_form

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
STUDIO, SUBMIT = "/studio", "/studio/submit"


def submit(client: Client, *, htmx: bool = True, **fields: object):
    return client.post(SUBMIT, studio_form(**fields), headers=HTMX if htmx else None)


# --- The landing page -----------------------------------------------------------------------------------------------
def test_the_front_door_is_open_to_everybody():
    page = Client().get("/")
    assert page.status_code == 200
    assert b"Watercolour" in page.content and b"For a mug" in page.content


def test_a_strangers_words_wait_for_them_behind_the_sign_up():
    client = Client()
    answer = client.post("/start", {"prompt": "a <b>bold</b> fox", "style": "anime", "product": "mug", "expand": "on"})
    assert answer.status_code == 302 and answer.url == "/accounts/signup/?next=%2Fstudio"
    assert b"a &lt;b&gt;bold&lt;/b&gt; fox" in client.get(answer.url).content
    signed_up = client.post(
        answer.url, {"email": "new@example.com", "password1": "a long and good one", "next": "/studio"}
    )
    assert signed_up.url == STUDIO
    studio = client.get(STUDIO).content.decode()
    assert "a &lt;b&gt;bold&lt;/b&gt; fox</textarea>" in studio
    assert 'value="anime" checked' in studio and 'value="mug" selected' in studio
    assert not Job.objects.exists()


def test_the_kept_words_are_forgotten_with_the_first_job():
    client = client_of(make_user(credits=50))
    session = client.session
    session[SESSION_KEY] = {"prompt": "kept", "style": "", "product": ""}
    session.save()
    assert b"kept</textarea>" in client.get(STUDIO).content
    assert submit(client).status_code == 201
    assert SESSION_KEY not in client.session


def test_a_member_lands_in_the_studio_with_the_job_running():
    user = make_user(credits=50)
    client = client_of(user)
    answer = client.post("/start", {"prompt": "a fox", "expand": "on", "request_key": "k"}, follow=True)
    assert answer.redirect_chain == [(STUDIO, 302)]
    job = Job.objects.get()
    assert f"job-{job.id}".encode() in answer.content
    assert (job.team, job.expander, job.style) == (team_of(user), "local", "")


def test_an_empty_prompt_stays_at_the_front_door():
    answer = Client().post("/start", {"prompt": "  "})
    assert answer.status_code == 422 and b"Describe the picture you want." in answer.content


def test_without_credits_the_front_door_says_so():
    answer = client_of(make_user()).post("/start", {"prompt": "a fox"})
    assert answer.status_code == 402 and b"credits" in answer.content
    assert not Job.objects.exists()


# --- The page -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", [STUDIO, "/gallery", "/jobs", "/account/"])
def test_a_visitor_is_led_to_the_sign_in_and_back(url):
    answer = Client().get(url)
    assert answer.status_code == 302 and answer.url == f"/accounts/login/?next={url}"


def test_a_fragment_sends_the_whole_page_to_the_sign_in():
    answer = Client().post("/studio/quote", {}, headers=HTMX)
    assert answer.headers["HX-Redirect"] == "/accounts/login/?next=%2Fstudio"
    assert answer.content == b""


def test_the_price_stands_there_on_first_paint_in_few_queries(django_assert_max_num_queries):
    user = make_user(credits=100)
    make_completed_job(user, count=2)
    make_job(user)
    make_job(user, size="512x512")
    client = client_of(user)
    client.get(STUDIO)  # the session is cached from here on
    with django_assert_max_num_queries(14):  # looks and models of the team's own among them, one each
        page = client.get(STUDIO)
    assert b"<strong>6</strong> credits" in page.content
    assert page.content.count(b'class="job job--queued') == 2 and page.content.count(b'class="shot"') == 2


def test_teams_do_not_see_each_others_jobs():
    job = make_job(make_user(credits=20))
    assert str(job.id).encode() not in make_stranger().get(STUDIO).content


def test_an_empty_studio_shows_the_way():
    assert b"Nothing yet" in client_of(make_user()).get(STUDIO).content


def test_every_page_is_strict_about_what_may_run():
    page = client_of(make_user()).get(STUDIO)
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy
    assert b" style=" not in page.content and b"onclick" not in page.content and b"<script>" not in page.content
    assert page.headers["Cache-Control"] == "private, no-store"


# --- Submitting -----------------------------------------------------------------------------------------------------
def test_a_submit_answers_with_the_card_a_fresh_key_and_the_balance(django_assert_max_num_queries):
    user = make_user(credits=50)
    client = client_of(user)
    client.get(STUDIO)
    queries.catalogue_names()  # cached for a minute
    with django_assert_max_num_queries(26):
        answer = submit(client, style="anime", product="poster", count="2", seed="11")
    job = Job.objects.get()
    assert answer.status_code == 201
    text = answer.content.decode()
    assert f'<article id="job-{job.id}"' in text and reverse("generation:job_progress", args=[job.id]) in text
    assert 'id="id_request_key"' in text and 'value="a-key"' not in text
    assert 'id="balance"' in text and "<strong>38</strong>" in text
    assert 'hx-swap-oob="beforeend:#toasts"' in text
    assert (job.product, job.width, job.height, job.count, job.seed) == ("poster", 256, 384, 2, 11)
    assert balance_of(team_of(user)).held_centi == 1200


def test_without_scripts_a_submit_ends_on_the_jobs_page():
    client = client_of(make_user(credits=50))
    answer = submit(client, htmx=False)
    job = Job.objects.get()
    assert answer.status_code == 302 and answer.url == f"/jobs/{job.id}"
    assert client.get(answer.url).status_code == 200


def test_a_double_click_is_one_job_and_one_charge():
    user = make_user(credits=50)
    client = client_of(user)
    first, second = submit(client), submit(client)
    assert first.status_code == second.status_code == 201
    assert Job.objects.count() == Hold.objects.count() == 1
    assert balance_of(team_of(user)).available_centi == 4400


@pytest.mark.parametrize(("limits", "seconds"), [({"queue_cap": 1}, "30"), ({"everybodys": 1}, "60")])
def test_a_full_queue_answers_when_to_come_again_and_takes_nothing(settings, limits, seconds):
    user = make_user(credits=50)
    settings.QUEUE_LENGTH_MAX = limits.get("everybodys", 100)
    allow(user, 1, queue_cap=limits.get("queue_cap", 100))
    make_job(user)
    answer = submit(client_of(user), request_key="")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, seconds)
    assert Job.objects.count() == 1 and balance_of(team_of(user)).held_centi == 600


def test_two_submits_without_a_key_are_two_jobs():
    client = client_of(make_user(credits=50))
    submit(client, request_key="")
    submit(client, request_key="")
    assert Job.objects.count() == 2


BAD = [
    ({"prompt": ""}, "Describe the picture you want."),
    ({"prompt": " \n\t "}, "Describe the picture you want."),
    ({"prompt": "\x01\x02\u202e\u200b"}, "Describe the picture you want."),
    ({"prompt": "fox\x00"}, "Null characters are not allowed."),
    ({"prompt": "x" * 10_000}, "Use at most 1,000 characters; this has 10,000."),
    ({"negative_prompt": "x" * 501}, "Use at most 500 characters"),
    ({"count": "0"}, "Choose a number from 1 to 4."),
    ({"count": "99"}, "Choose a number from 1 to 4."),
    ({"count": "two"}, "Enter a whole number."),
    ({"seed": "-1"}, "Choose a number from 0 to 4,294,967,295."),
    ({"seed": "4294967296"}, "Choose a number from 0 to 4,294,967,295."),
    ({"seed": "9" * 400}, "Choose a number from 0 to 4,294,967,295."),
    ({"size": "1024x1024"}, "Starter offers these sizes"),
    ({"size": "<b>"}, "Starter offers these sizes"),
    ({"quality": "best"}, "Choose one of: standard, hd."),
    ({"num_inference_steps": "31"}, "Choose a number from 1 to 30."),
    ({"guidance_scale": "nan"}, "Enter a number."),
    ({"guidance_scale": "99"}, "Choose a number from 1 to 12."),
    ({"style": "no-such"}, "There is no style called"),
    ({"product": "no-such"}, "There is no product called"),
    ({"model": "sd15"}, "model"),
    ({"model": "no-such"}, "There is no such model."),
    ({"request_key": "k" * 81}, "at most 80 characters"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
@pytest.mark.parametrize("htmx", [True, False], ids=["htmx", "plain"])
def test_a_bad_request_is_told_what_is_wrong_and_costs_nothing(fields, message, htmx):
    user = make_user(credits=50)
    answer = submit(client_of(user), htmx=htmx, **fields)
    assert 400 <= answer.status_code < 500
    assert message in answer.content.decode()
    assert not Job.objects.exists() and not Hold.objects.exists()
    assert balance_of(team_of(user)).available_centi == 5000
    assert (answer.headers.get("HX-Retarget") == "this") is htmx


@pytest.mark.parametrize(
    "prompt",
    ["מגדלור ליד הים", "🦊🏔️ at dawn", "<script>alert(1)</script>", "{{ 7|add:7 }} {% csrf %}", "'; DROP TABLE x; --"],
)
def test_every_script_is_welcome_and_shown_as_text(prompt):
    client = client_of(make_user(credits=50))
    assert submit(client, prompt=prompt).status_code == 201
    page = client.get(STUDIO).content.decode()
    assert "<script>alert" not in page and "14" not in Job.objects.get().prompt
    assert Job.objects.get().prompt == prompt


def test_a_refused_prompt_is_told_the_rules_reason():
    answer = submit(client_of(make_user(credits=50)), prompt="hardcore sex")
    assert answer.status_code == 422 and b"does not make explicit sexual pictures" in answer.content
    assert b"hardcore sex</textarea>" in answer.content
    assert not Job.objects.exists()


def test_without_credits_the_form_comes_back_with_its_words():
    answer = submit(client_of(make_user(credits=5)), prompt="my long and good prompt")
    assert answer.status_code == 402
    assert b"my long and good prompt</textarea>" in answer.content
    assert not Job.objects.exists()


def test_a_used_key_with_other_words_is_refused_once_with_a_new_key():
    """The answer to the first click was lost, the words were changed since: the page is no dead end."""
    client = client_of(make_user(credits=50))
    submit(client)
    refused = submit(client, prompt="another")
    assert refused.status_code == 422 and Job.objects.count() == 1
    assert b"what it ordered is under Jobs" in refused.content
    key = re.search(rb'name="request_key" value="(\w+)"', refused.content)[1].decode()
    assert submit(client, prompt="another", request_key=key).status_code == 201
    assert Job.objects.count() == 2


def test_a_forged_form_is_refused():
    user = make_user(credits=50)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    answer = client.post(SUBMIT, studio_form())
    assert answer.status_code == 403 and b"too old" in answer.content
    assert not Job.objects.exists()


def test_reading_a_submit_address_is_not_allowed():
    assert client_of(make_user()).get(SUBMIT).status_code == 405


# --- Price, expansion, models ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "credits"),
    [({}, "6"), ({"count": "4"}, "24"), ({"quality": "hd"}, "9"), ({"prompt": "", "count": "3"}, "18")],
)
def test_the_price_follows_the_settings(fields, credits):
    answer = client_of(make_user(credits=50)).post("/studio/quote", studio_form(**fields), headers=HTMX)
    assert f"<strong>{credits}</strong> credits" in answer.content.decode()


def test_the_price_shows_the_size_a_product_gets():
    answer = client_of(make_user(credits=50)).post("/studio/quote", studio_form(product="poster"), headers=HTMX)
    assert b"256\xc3\x97384" in answer.content


def test_the_price_says_when_it_is_too_much():
    answer = client_of(make_user(credits=5)).post("/studio/quote", studio_form(), headers=HTMX)
    assert b"You have 5." in answer.content


def test_bad_settings_have_no_price():
    answer = client_of(make_user()).post("/studio/quote", studio_form(count="9"), headers=HTMX)
    assert answer.status_code == 200 and b"Check the settings." in answer.content


def test_the_expansion_can_be_seen_and_is_not_stored():
    answer = client_of(make_user()).post("/studio/expand", studio_form(style="anime"), headers=HTMX)
    assert b"a red fox by a lake, anime style, clean line art, vibrant cel shading</textarea>" in answer.content
    assert not Job.objects.exists()


def test_an_untouched_expansion_follows_the_prompt():
    client = client_of(make_user(credits=50))
    seen = "a red fox by a lake, highly detailed, beautiful composition"
    old = {"expanded_prompt": seen, "expansion_made": seen, "prompt": "a blue whale"}
    answer = client.post("/studio/expand", studio_form(**old), headers=HTMX)
    assert b"a blue whale, highly detailed" in answer.content
    submit(client, **old)
    job = Job.objects.get()
    assert (job.expanded_prompt, job.expander) == ("a blue whale, highly detailed, beautiful composition", "local")


def test_an_edited_expansion_is_the_persons_and_stays():
    client = client_of(make_user(credits=50))
    edited = {"expanded_prompt": "my own words", "expansion_made": "ours", "prompt": "a blue whale"}
    answer = client.post("/studio/expand", studio_form(**edited), headers=HTMX)
    assert b"my own words</textarea>" in answer.content and b"You edited this text" in answer.content
    anew = client.post("/studio/expand", studio_form(**edited, anew="1"), headers=HTMX)
    assert b"a blue whale, highly detailed" in anew.content
    submit(client, **edited)
    job = Job.objects.get()
    assert (job.prompt, job.expanded_prompt, job.expander) == ("a blue whale", "my own words", "person")


def test_switched_off_the_model_reads_the_bare_words():
    fields = studio_form(expanded_prompt="edited", expansion_made="")
    del fields["expand"]
    client_of(make_user(credits=50)).post(SUBMIT, fields, headers=HTMX)
    job = Job.objects.get()
    assert (job.expanded_prompt, job.expander) == ("a red fox by a lake", "")


@pytest.mark.parametrize("prompt", ["", "x" * 1001, "hardcore sex"])
def test_what_cannot_be_expanded_is_told_why(prompt):
    answer = client_of(make_user()).post("/studio/expand", studio_form(prompt=prompt), headers=HTMX)
    assert answer.status_code == 422 and b'class="error"' in answer.content


def test_models_are_offered_when_there_is_a_choice():
    client = client_of(make_user(credits=500))
    assert b"Base models" not in client.get(STUDIO).content
    ImageModel.objects.filter(slug="sdxl-lightning").update(is_active=True)
    assert b'<option value="base:sdxl-lightning">' in client.get(STUDIO).content
    settings = client.post("/studio/settings", studio_form(drawn_with="base:sdxl-lightning"), headers=HTMX)
    assert b"832x1216" in settings.content and b"512x384" not in settings.content
    submit(client, drawn_with="base:sdxl-lightning", product="poster")
    assert Job.objects.values_list("model", "width", "height").get() == ("sdxl-lightning", 832, 1216)


# --- Regenerate -----------------------------------------------------------------------------------------------------
def test_regenerating_begins_with_the_same_settings_and_another_seed():
    user = make_user(credits=50)
    job = make_completed_job(user, style="anime", product="mug", size="384x384", quality="hd", count=3, seed=77)
    page = client_of(user).get(f"{STUDIO}?from={job.id}").content.decode()
    assert "a red fox by a lake</textarea>" in page
    assert 'value="anime" checked' in page and 'value="mug" selected' in page and 'value="3" checked' in page
    assert 'value="384x384" selected' in page and 'value="hd" selected' in page
    assert 'value="77"' not in page
    assert "photo, 3d render" not in page  # the style's own, not the person's
    assert 'value="77"' in client_of(user).get(f"{STUDIO}?from={job.id}&seed=77").content.decode()


@pytest.mark.parametrize("source", ["nonsense", "00000000-0000-4000-8000-000000000000", ""])
def test_a_job_that_is_not_there_prefills_nothing(source):
    page = client_of(make_user()).get(f"{STUDIO}?from={source}&seed=x")
    assert page.status_code == 200


def test_a_strangers_job_prefills_nothing():
    job = make_job(make_user(credits=50), prompt="very secret words")
    assert b"very secret" not in make_stranger().get(f"{STUDIO}?from={job.id}").content
