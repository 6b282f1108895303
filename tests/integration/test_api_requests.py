"""What the API makes of requests: everything that is not offered is refused by name, in one shape."""

import pytest

from generation import services
from generation.models import Job
from tests.factories import make_user
from tests.integration.program import ASK, Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def program() -> Program:
    return Program(make_user(credits=100))


@pytest.mark.parametrize("key", ["k" * 81, "schlüssel", "tab\tkey"])
def test_a_strange_key_is_refused(program, key):
    answer = program.post("generate", ASK, Idempotency_Key=key)
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \u200b\t\n"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x" * 10_000}, "prompt"),
        ({"prompt": "nul \x00 byte"}, "prompt"),
        ({"negative_prompt": "x" * 501}, "negative_prompt"),
        ({"expanded_prompt": "x" * 2001}, "expanded_prompt"),
        ({"size": "257x257"}, "size"),
        ({"size": 512}, "size"),
        ({"count": 0}, "count"),
        ({"count": 99}, "count"),
        ({"count": True}, "count"),
        ({"count": "2"}, "count"),
        ({"count": 2.0}, "count"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"seed": 10**1000}, "seed"),
        ({"num_inference_steps": 31}, "num_inference_steps"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"guidance_scale": 10**400}, "guidance_scale"),
        ({"guidance_scale": True}, "guidance_scale"),
        ({"quality": "best"}, "quality"),
        ({"expand": "yes"}, "expand"),
        ({"expand": 1}, "expand"),
        ({"model": "no-such-model"}, "model"),
        ({"model": "../starter"}, "model"),
        ({"style": "no-such-style"}, "style"),
        ({"style": "nul\x00"}, "style"),
        ({"style": "s" * 41}, "style"),
        ({"product": "no-such-product"}, "product"),
        ({"product": ["mug"]}, "product"),
        ({"stile": "anime"}, "stile"),
    ],
    ids=repr,
)
def test_what_is_not_offered_is_refused_by_name(program, change, field):
    answer = program.post("generate", ASK | change)
    assert answer.status_code == 400, answer.content
    body = answer.json()
    assert body["code"] == "invalid" and list(body["fields"]) == [field]
    assert body["fields"][field] in body["message"]
    assert not Job.objects.exists()


def test_fields_that_the_server_owns_cannot_be_written(program):
    for name in {field.name for field in Job._meta.fields} - set(ASK) - {
        "negative_prompt", "expanded_prompt", "style", "product", "model", "quality", "count", "guidance_scale",
    }:  # fmt: skip
        answer = program.post("generate", ASK | {name: 1})
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [name])
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("شعار الثعلب الأحمر", "شعار الثعلب الأحمر"),
        ("fox \u202e evil \u202c", "fox evil"),
        ("a 👩‍👩‍👧 family", "a 👩‍👩‍👧 family"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("two\r\nlines\x07", "two lines"),
    ],
)
def test_words_of_every_kind_are_kept_as_words(program, sent, kept):
    answer = program.post("generate", ASK | {"prompt": sent})
    assert answer.status_code == 202
    seen = program.get(f"jobs/{answer.json()['id']}")
    assert seen.json()["prompt"] == kept
    assert seen["Content-Type"] == "application/json"
    assert seen["X-Content-Type-Options"] == "nosniff"


def test_null_means_left_out(program):
    empty = dict.fromkeys(["negative_prompt", "style", "product", "size", "quality", "count", "guidance_scale"])
    answer = program.post("generate", ASK | empty | {"expand": None, "model": None, "expanded_prompt": None})
    assert answer.status_code == 202, answer.json()
    assert (Job.objects.get().count, Job.objects.get().expander) == (1, "local")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "parse_error"),
        ('{"prompt": "a", "guidance_scale": NaN}', 400, "parse_error"),
        ('{"prompt": "a", "guidance_scale": 1e999}', 400, "invalid"),
        ('{"prompt": "a", "seed": ' + "9" * 5000 + "}", 400, "parse_error"),
        ('{"prompt": "\\ud800"}', 400, "invalid"),
        ("[" * 100_000, 400, "parse_error"),
        ("[]", 400, "invalid"),
        ('"fox"', 400, "invalid"),
        ("null", 400, "invalid"),
        ("", 400, "invalid"),
        (b"\xff\xfe", 400, "parse_error"),
        ('{"prompt": "' + "x" * 300_000 + '"}', 413, "too_large"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_broken_bodies_are_refused_in_words(program, body, status, code):
    answer = program.post("generate", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


def test_other_media_and_methods_are_refused_in_the_same_shape(program):
    form = program.client.post("/api/v1/generate", ASK)
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")
    put = program.client.put("/api/v1/generate", ASK, content_type="application/json")
    assert (put.status_code, put.json()["code"]) == (405, "method_not_allowed")
    assert program.get("generate").json()["code"] == "method_not_allowed"
    assert program.get("jobs", Accept="text/html").json()["code"] == "not_acceptable"


def test_addresses_that_are_not_there_answer_in_json(program):
    for method in ("get", "post", "put", "delete"):
        answer = getattr(program.client, method)("/api/v1/unicorns")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_what_breaks_on_our_side_is_said_in_json(program, monkeypatch, caplog):
    def breaks(**anything: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(services, "submit_job", breaks)
    program.client.raise_request_exception = False
    answer = program.post("generate", ASK)
    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
    assert "secret" not in answer.content.decode()
    assert "RuntimeError" in caplog.text
