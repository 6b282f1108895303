"""Signing up, in and out, the account page with its keys, and the pages for when something is wrong."""

import re

import pytest
from django.core import mail
from django.template import loader
from django.test import Client

from accounts.models import ApiKey, User
from accounts.services import create_api_key
from credits.queries import balance_of
from tests.factories import make_user, team_of
from tests.integration.pages import client_of, make_stranger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]


def test_signing_up_gives_a_team_and_the_bonus():
    client = Client()
    assert b"100 credits" in client.get("/accounts/signup/").content
    answer = client.post("/accounts/signup/", {"email": "New@Example.com", "password1": "a long and good one"})
    assert answer.url == "/studio"
    user = User.objects.get(email="new@example.com")
    assert balance_of(team_of(user)).available_centi == 10_000
    assert b"<strong>100</strong>" in client.get("/studio").content


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"email": "no", "password1": "a long and good one"}, "valid email"),
        ({"email": "a@example.com", "password1": "short"}, "at least 10 characters"),
        ({"email": "", "password1": ""}, "This field is required"),
    ],
)
def test_a_bad_sign_up_is_told_why(fields, message):
    answer = Client().post("/accounts/signup/", fields)
    assert message in answer.content.decode() and 'aria-invalid="true"' in answer.content.decode()
    assert not User.objects.exists()


def test_signing_in_leads_back_to_where_one_came_from():
    user = make_user()
    fields = {"login": user.email, "password": "correct horse battery", "next": "/gallery"}
    assert Client().post("/accounts/login/", fields).url == "/gallery"


def test_signing_in_leads_nowhere_else():
    user = make_user()
    fields = {"login": user.email, "password": "correct horse battery", "next": "https://evil.example/"}
    assert Client().post("/accounts/login/", fields).url == "/studio"


def test_a_wrong_password_is_told_in_words():
    answer = Client().post("/accounts/login/", {"login": make_user().email, "password": "wrong"})
    assert b"not correct" in answer.content


def test_signing_out_needs_a_click():
    client = client_of(make_user())
    assert b"Sign out?" in client.get("/accounts/logout/").content
    assert client.post("/accounts/logout/").url == "/"
    assert client.get("/studio").status_code == 302


def test_a_forgotten_password_can_be_replaced():
    user, client = make_user(), Client()
    assert client.get("/accounts/password/reset/").status_code == 200
    sent = client.post("/accounts/password/reset/", {"email": user.email}, follow=True)
    assert b"Check your email" in sent.content
    (link,) = re.findall(r"http://[^/]+(/\S+)", mail.outbox[0].body)
    form = client.get(link, follow=True)
    assert b"Choose a new password" in form.content
    url = form.redirect_chain[-1][0]
    done = client.post(url, {"password1": "a new and good one", "password2": "a new and good one"}, follow=True)
    assert b"Your password is changed" in done.content
    user.refresh_from_db()
    assert user.check_password("a new and good one")
    assert b"no longer works" in Client().get(link, follow=True).content


@pytest.mark.parametrize("page", ["email/", "password/change/", "logout/"])
def test_the_pages_of_the_account_are_in_our_design(page):
    answer = client_of(make_user()).get(f"/accounts/{page}", follow=True)
    assert answer.status_code == 200 and b'id="balance"' in answer.content and b"<style" not in answer.content


def test_the_account_shows_balance_and_keys():
    user = make_user(credits=75)
    create_api_key(team=team_of(user), user=user, name="<i>site</i>")
    page = client_of(user).get("/account/").content.decode()
    assert user.email in page and "<strong>75</strong> to spend" in page and 'href="/credits"' in page
    assert "&lt;i&gt;site&lt;/i&gt;" in page


def test_a_new_key_is_shown_once():
    user = make_user()
    client = client_of(user)
    answer = client.post("/account/keys", {"name": "site", "scopes": ["read"]})
    assert answer.status_code == 201
    (secret,) = re.findall(r"tk_[0-9a-f]{8}_[\w-]{43}", answer.content.decode())
    assert secret not in client.get("/account/").content.decode()
    assert ApiKey.objects.get().name == "site"


@pytest.mark.parametrize("name", ["", "x" * 81])
def test_a_key_needs_a_name(name):
    answer = client_of(make_user()).post("/account/keys", {"name": name, "scopes": ["read"]})
    assert answer.status_code == 422 and b'class="error"' in answer.content
    assert not ApiKey.objects.exists()


def test_too_many_keys_are_refused_in_words():
    user = make_user()
    for number in range(20):
        create_api_key(team=team_of(user), user=user, name=str(number))
    answer = client_of(user).post("/account/keys", {"name": "one more", "scopes": ["read"]})
    assert answer.status_code == 409 and b"Revoke one" in answer.content


def test_a_key_is_revoked_after_a_question():
    user = make_user()
    key, _ = create_api_key(team=team_of(user), user=user, name="site")
    client, url = client_of(user), f"/account/keys/{key.id}/revoke"
    assert b"Revoke this key?" in client.get(url).content
    assert client.post(url).url == "/account/"
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert client.post(url).status_code == 404


def test_a_stranger_revokes_nothing():
    user = make_user()
    key, _ = create_api_key(team=team_of(user), user=user, name="site")
    url = f"/account/keys/{key.id}/revoke"
    assert make_stranger().post(url).status_code == 404 and make_stranger().get(url).status_code == 404
    assert Client().post(url).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is None


# --- When something is wrong ----------------------------------------------------------------------------------------
def test_a_page_that_is_not_there_is_in_our_design():
    for client in (Client(), client_of(make_user())):
        answer = client.get("/no/such/page")
        assert answer.status_code == 404 and b"Nothing here" in answer.content


def test_the_page_for_a_broken_server_needs_no_database(django_assert_num_queries):
    with django_assert_num_queries(0):
        text = loader.render_to_string("500.html", {"site_name": "TenkaiGen"})
    assert "Something broke" in text


def test_an_error_in_a_view_is_answered_with_that_page(monkeypatch):
    monkeypatch.setattr("generation.queries.recent_jobs", lambda team: 1 / 0)
    client = client_of(make_user())
    client.raise_request_exception = False
    answer = client.get("/studio")
    assert answer.status_code == 500 and b"Something broke" in answer.content


@pytest.mark.parametrize(("cookie", "attribute"), [("dark", ' data-theme="dark"'), ("light", ' data-theme="light"')])
def test_the_chosen_theme_is_there_on_first_paint(cookie, attribute):
    client = Client()
    client.cookies["theme"] = cookie
    assert f'<html lang="en"{attribute}>' in client.get("/").content.decode()


def test_an_invented_theme_is_ignored():
    client = Client()
    client.cookies["theme"] = '"><script>'
    assert '<html lang="en">' in client.get("/").content.decode()
