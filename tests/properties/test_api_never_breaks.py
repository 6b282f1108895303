"""Whatever JSON a program sends, the API answers with a status below 500, in its one shape."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.api_quotes import KINDS
from tests.factories import make_user
from tests.integration.program import Program

FIELDS = (*sorted({name for kind in KINDS.values() for name in kind().fields}), "id", "team", "__class__")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(codec=None)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
BODIES = VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES) | st.just({"prompt": "fox"})
TEXTS = st.text(max_size=90) | st.sampled_from(["0" * 36, "%00", "..", "-1", "None", "a" * 300])
FUZZ = settings(max_examples=150)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def program(settings) -> Program:
    settings.API_REQUESTS_PER_MINUTE = 10**9
    return Program(make_user(credits=100))


def check(answer) -> None:
    assert answer.status_code < 500, answer.content
    body = answer.json()
    if answer.status_code >= 400:
        assert set(body) <= {"code", "message", "fields", "price"} and body["code"] and body["message"]


@FUZZ
@given(body=BODIES, path=st.sampled_from(["generate", "generate?dry_run=1", "quotes", "parse-prompt"]))
def test_bodies(program, body, path):
    check(program.post(path, json.dumps(body)))


@FUZZ
@given(raw=st.binary(max_size=200))
def test_bytes(program, raw):
    check(program.post("generate", raw))


@FUZZ
@given(text=TEXTS, key=st.sampled_from(["cursor", "limit", "status", "format", "x"]))
def test_queries(program, text, key):
    check(program.client.get("/api/v1/jobs", {key: text}))


@FUZZ
@given(text=TEXTS, path=st.sampled_from(["jobs/{}", "generate/{}", "images/{}/original", "images/{}/{}", "{}"]))
def test_paths(program, text, path):
    address = "/api/v1/" + path.replace("{}", text.replace("/", "").replace("?", "").replace("#", ""))
    answer = program.client.get(address)
    if not address.endswith(("/schema", "/")):
        check(answer)
