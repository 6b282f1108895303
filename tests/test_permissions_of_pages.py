"""The routes that no role opens: sign-in, second step, sessions, one's own pages, public ones; and all of the admin.

For each route and each method, what everybody is answered: `tests/routes.py` has the table. A new route needs a row.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse
from django.template.backends.django import Template
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from drf_spectacular.views import SpectacularAPIView
from rest_framework.response import Response

from accounts import services
from accounts.models import User
from accounts.roles import Role
from tests.factories import make_member, make_user, team_of
from tests.routes import ANSWERS, OF_ALL_STAFF
from tests.test_permissions import METHODS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
NOWHERE = UUID(int=0)
PARTS = {
    "session_id": 0, "team_id": NOWHERE, "secret": "made-up", "uuid": NOWHERE, "token": "forged", "key": "made-up",
    "uidb36": "1", "purchase_id": NOWHERE, "provider_id": NOWHERE, "path": "nowhere",
    "app_label": "accounts",
}  # fmt: skip
WORDS = {200: "page", 400: "broken", 401: "key", 403: "forbidden", 404: "absent", 405: "no", 410: "gone"}
ADMIN_REFUSES = ("/admin/login/", "login", "forbidden")  # its own sign-in leads to the one with limits
PLACES = {"/accounts/login/": "login", "/studio": "studio", "/accounts/reauthenticate/": "password"}


@pytest.fixture
def actors() -> dict[str, tuple[User | None, dict[str, str]]]:
    """(person, headers) by who they are."""
    owner = make_user(credits=10)
    team = team_of(owner)
    _, text = services.create_api_key(team=team, user=owner, name="theirs", scopes=["billing"])
    lost, lost_text = services.create_api_key(team=team, user=owner, name="lost")
    services.revoke_api_key(lost, actor=owner)
    return {
        "stranger": (None, {}),
        "key without scope": (None, {"X-API-Key": text}),
        "revoked key": (None, {"X-API-Key": lost_text}),
        **{role.value: (make_member(team, role), {}) for role in (Role.VIEWER, Role.MEMBER, Role.ADMIN)},
        "owner": (owner, {}),
        "other team": (make_user(), {}),
        "staff": (make_user(is_staff=True, is_superuser=True), {}),
    }


def everything(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from everything(pattern, prefix + (f"{pattern.namespace}:" if pattern.namespace else ""))
        else:
            yield f"{prefix}{pattern.name}", pattern


@pytest.fixture
def unrendered(monkeypatch):
    """Who is let in shows in the status; to render two thousand pages takes a minute."""
    logging.disable(logging.CRITICAL)  # by its own function: every logger remembers what it was told
    monkeypatch.setattr(Template, "render", lambda self, context=None, request=None: "")
    monkeypatch.setattr(SpectacularAPIView, "_get_schema_response", lambda self, request: Response({}))
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("unrendered")
def test_nobody_is_answered_more_than_the_table_says(actors):
    """In one test: to make nine people for each of fifty routes takes longer than all their requests."""
    patterns = dict(everything(get_resolver()))
    wrong = {}
    for who, (person, headers) in actors.items():
        cookies = Client()
        if person:
            cookies.force_login(person)
        for name, (strangers, people) in ANSWERS.items():
            kwargs = {part: PARTS[part] for part in patterns[name].pattern.regex.groupindex}
            expected = people if person else strangers
            if who == "revoked key" and name.startswith("api:") and name != "api:provider_webhook":
                expected = "key"
            words = expected.split() if " " in expected else [expected] * len(METHODS)
            found = list(answers(reverse(name, kwargs=kwargs), cookies, headers, METHODS))
            if found != words:
                wrong[who, name] = found
    assert wrong == {}


def answers(address: str, cookies: Client, headers: dict[str, str], methods: Sequence[str]) -> Iterator[str]:
    """By each method, on its own: what is done is undone, and limits start anew."""
    for method in methods:
        cache.clear()
        client = Client(headers=headers)
        client.cookies.load({name: morsel.value for name, morsel in cookies.cookies.items()})
        with transaction.atomic():
            yield word(getattr(client, method)(address))
            transaction.set_rollback(True)


def word(answer: HttpResponse) -> str:
    if answer.status_code in (301, 302):
        path = urlsplit(answer["Location"]).path
        return PLACES.get(path, path)
    return WORDS.get(answer.status_code, str(answer.status_code))


def test_the_admin_opens_for_staff_alone():
    """Every page of it, by every method, called past the middleware: the admin itself asks who it is."""
    nobodies = {
        "stranger": AnonymousUser(),
        "owner": make_user(),
        "switched off": make_user(is_staff=True, is_active=False),
    }
    clerk = make_user(is_staff=True)
    opened, for_clerks = [], set()
    for name, pattern in everything(get_resolver()):
        if not name.startswith("admin:"):
            continue
        kwargs = {part: PARTS.get(part, "1") for part in pattern.pattern.regex.groupindex}
        for method in METHODS:
            for who, person in nobodies.items():
                answer = ask(pattern, method, person, kwargs)
                is_refused = isinstance(answer, PermissionDenied) or word(answer) in ADMIN_REFUSES
                if not is_refused and name != "admin:logout":
                    opened.append((who, name, method, answer))
        answer = ask(pattern, "get", clerk, kwargs)
        if isinstance(answer, HttpResponse) and word(answer) == "page":
            for_clerks.add(name)
    assert opened == []
    assert for_clerks == OF_ALL_STAFF


def ask(pattern: URLPattern, method: str, person: User | AnonymousUser, kwargs: dict[str, object]) -> Any:
    request = getattr(RequestFactory(), method)("/admin/somewhere/")
    request.user, request.session, request._dont_enforce_csrf_checks = person, {}, True
    request._messages = CookieStorage(request)
    try:
        with transaction.atomic():
            return pattern.callback(request, **kwargs)
    except (PermissionDenied, Http404) as refusal:
        return refusal
