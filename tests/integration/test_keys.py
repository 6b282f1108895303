"""Keys of programs: scopes, an end, a cap, a last use; shown once, stopped at once."""

import re
from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.errors import TeamIsClosed
from accounts.models import Activity, ApiKey
from accounts.queries import find_key
from tests.factories import make_member, make_user, team_of
from tests.integration.pages import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
FORM = {"name": "site", "scopes": ["read", "train"], "days": "30", "cap": "250"}


def make_key(**terms) -> tuple[ApiKey, str]:
    user = make_user()
    return services.create_api_key(team=team_of(user), user=user, name="site", **terms)


def test_the_page_makes_a_key_with_its_terms():
    user = make_user()
    client = client_of(user)
    answer = client.post("/account/keys", FORM)
    (secret,) = re.findall(r"tk_[0-9a-f]{8}_[\w-]{43}", answer.content.decode())
    key, place = find_key(secret)
    assert (key.scopes, key.monthly_cap_centi, place.role) == (["read", "train"], 25_000, "owner")
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    page = client.get("/account/").content.decode()
    assert secret not in page and "0 of at most 250 credits spent this month" in page and user.email in page
    assert Activity.objects.latest("created_at").details == {"prefix": key.prefix, "scopes": ["read", "train"]}


@pytest.mark.parametrize(
    "wrong", [{"scopes": []}, {"scopes": ["everything"]}, {"days": "-1"}, {"cap": "0"}, {"cap": "x"}, {"cap": "1e9"}]
)
def test_wrong_terms_are_told_and_make_no_key(wrong):
    answer = client_of(make_user()).post("/account/keys", FORM | wrong)
    assert answer.status_code == 422 and b'class="error"' in answer.content
    assert not ApiKey.objects.exists()


def test_without_terms_a_key_reads_and_generates_without_end():
    key, text = make_key()
    assert (key.scopes, key.expires_at, key.monthly_cap_centi) == (["read", "generate"], None, None)
    assert find_key(text)[0] == key


def test_only_the_hash_is_stored():
    key, text = make_key()
    assert text.rpartition("_")[2] not in str(ApiKey.objects.values().get())
    assert len(key.secret_sha256) == 64


@pytest.mark.parametrize(
    "header", [{"Authorization": "Bearer {}"}, {"X-API-Key": "{}"}, {"Authorization": "bearer {}"}]
)
def test_both_headers_open(header):
    _, text = make_key()
    (name, form), *_ = header.items()
    assert Client(headers={name: form.format(text)}).get("/api/v1/jobs").status_code == 200


def test_an_expired_key_opens_nothing():
    _, text = make_key(expires_at=timezone.now() - timedelta(seconds=1))
    assert find_key(text) is None
    assert Client(headers={"X-API-Key": text}).get("/api/v1/jobs").status_code == 401


@pytest.mark.parametrize(
    "text", ["", "tk_", "tk__", "tk__x", "tk_abcdefgh_", "sk_abcdefgh_x", "tk_a\0_x", "tk_abcdefgh_xyz"]
)
def test_what_is_no_key_opens_nothing(text):
    make_key()
    assert find_key(text) is None


def test_a_key_with_another_secret_opens_nothing():
    key, text = make_key()
    assert find_key(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    key.refresh_from_db()
    assert key.last_used_at is None


def test_the_last_use_is_noted_once_a_minute(django_assert_num_queries):
    key, text = make_key()
    find_key(text)
    key.refresh_from_db()
    first = key.last_used_at
    with django_assert_num_queries(1):
        find_key(text)
    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    find_key(text)
    key.refresh_from_db()
    assert first is not None and key.last_used_at > first


def test_a_key_is_never_more_than_its_maker(django_assert_num_queries):
    owner = make_user()
    viewer = make_member(team_of(owner), "viewer")
    _, text = services.create_api_key(team=team_of(owner), user=viewer, name="bot")
    client = Client(headers={"X-API-Key": text})
    assert client.get("/api/v1/jobs").status_code == 200
    answer = client.post("/api/v1/generate", {"prompt": "a fox"}, content_type="application/json")
    assert answer.status_code == 403 and answer.json()["code"] == "not_allowed"


def test_members_see_the_keys_and_make_none():
    owner = make_user()
    services.create_api_key(team=team_of(owner), user=owner, name="<i>site</i>")
    client = client_of(make_member(team_of(owner)))
    page = client.get("/account/").content.decode()
    assert "&lt;i&gt;site&lt;/i&gt;" in page and "Make a key" not in page and "Revoke" not in page
    assert client.post("/account/keys", FORM).status_code == 403
    assert ApiKey.objects.count() == 1


def test_a_closed_team_makes_no_key():
    user = make_user()
    services.close_team(team=(team := team_of(user)), actor=user)
    with pytest.raises(TeamIsClosed):
        services.create_api_key(team=team, user=user, name="late")


@pytest.mark.parametrize("terms", [{"monthly_cap_centi": 0}, {"scopes": []}])
def test_the_database_refuses_a_key_without_sense(terms):
    with pytest.raises(IntegrityError, match="api_key_"):
        make_key(**terms)
