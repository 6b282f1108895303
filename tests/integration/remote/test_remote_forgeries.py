"""Webhooks that nobody of ours has sent: each is refused, and leaves no trace."""

import time

import pytest
from django.test import Client
from django.urls import reverse

from generation.models import Image, Job, ProviderDelivery, RemoteRequest
from tests.fake_provider import HMAC_SECRET_2, sign_hmac
from tests.remote import hook, make_provider


def status_of(job: Job) -> str:
    return Job.objects.values_list("status", flat=True).get(pk=job.pk)


def rows() -> list[object]:
    return [list(model.objects.order_by("pk").values()) for model in (Job, Image, RemoteRequest, ProviderDelivery)]


# --- Forgeries ------------------------------------------------------------------------------------------------------
STAMPS = {
    "no id": {"webhook-id": None},
    "empty id": {"webhook-id": ""},
    "id with a dot": {"webhook-id": "msg.1"},
    "id with a space": {"webhook-id": "a b"},
    "long id": {"webhook-id": "x" * 101},
    "no time": {"webhook-timestamp": None},
    "time in words": {"webhook-timestamp": "now"},
    "negative time": {"webhook-timestamp": "-1"},
    "no number": {"webhook-timestamp": "1e9"},
    "long time": {"webhook-timestamp": "9" * 40},
    "arabic digits": {"webhook-timestamp": "\u0661\u0662"},
}
SIGNATURES = {
    "none": {"webhook-signature": None},
    "empty": {"webhook-signature": ""},
    "no version": {"webhook-signature": "AAAA"},
    "other version": {"webhook-signature": "v0,AAAA"},
    "of zeros": {"webhook-signature": "v1," + "A" * 43 + "="},
    "no base64": {"webhook-signature": "v1,!!!!"},
    "many": {"webhook-signature": "v1,AAAA " * 200},
    "of another id": {"webhook-id": "msg_other"},
    "of another time": {"webhook-timestamp": "SOON"},
}


@pytest.mark.parametrize("kind", STAMPS)
def test_a_delivery_without_good_headers_is_refused(fake, provider, job, kind):
    before = rows()
    said = fake.finished[fake.finish()]
    answer = fake.deliver(hook(provider), said, **STAMPS[kind])
    assert (answer.status_code, answer.json()["code"]) == (400, "webhook_malformed")
    assert rows() == before


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_forgery_is_refused_and_leaves_no_trace(fake, provider, job, kind):
    before = rows()
    said = fake.finished[fake.finish()]
    headers = {
        name: value and value.replace("SOON", str(int(time.time()) + 60)) for name, value in SIGNATURES[kind].items()
    }
    answer = fake.deliver(hook(provider), said, **headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "webhook_forged")
    assert rows() == before


# An early one is a second younger with every second that its way takes.
@pytest.mark.parametrize("age", [301, -330, 86_400, -86_400])
def test_an_old_or_early_delivery_is_refused(fake, provider, job, age):
    before = rows()
    answer = fake.deliver(hook(provider), fake.finished[fake.finish()], age_seconds=age)
    assert answer.status_code == 400 and rows() == before


@pytest.mark.parametrize("age", [295, -295])
def test_clocks_may_differ_a_little(fake, provider, age):
    said = {"request_id": "x", "status": "processing"}
    assert fake.deliver(hook(provider), said, age_seconds=age).status_code == 202


@pytest.mark.parametrize("secret", [HMAC_SECRET_2, "whsec_" + "QUFB" * 10])
def test_another_secret_is_refused(fake, provider, job, secret):
    before = rows()
    assert fake.deliver(hook(provider), fake.finished[fake.finish()], secret=secret).status_code == 401
    assert rows() == before


def test_one_changed_byte_is_refused(fake, provider, job):
    said = fake.finished[fake.finish()]
    before = rows()
    answer = fake.deliver(hook(provider), said, sign=lambda signed, secret: sign_hmac(signed + b" ", secret))
    assert answer.status_code == 401 and rows() == before


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"request_id": 5}', b'{"request_id": "a/../b", "status": "ok"}',
     b'{"status": "ok"}', b'{"request_id": "x", "status": "dancing"}', b"\xff\xfe", b"[" * 50_000, b'{"a":' * 50_000,
     b'{"request_id": "x", "images": [1]}', b'{"request_id": "x", "images": "y"}', b'{"request_id": "\\u0000"}'],
)  # fmt: skip
def test_a_signed_body_that_makes_no_sense_is_refused(fake, provider, job, body):
    before = rows()
    answer = fake.deliver(hook(provider), body)
    assert (answer.status_code, answer.json()["code"]) == (400, "webhook_malformed")
    assert rows() == before


def test_a_body_that_is_too_large_is_not_read(fake, provider, job, settings):
    before = rows()
    answer = fake.deliver(hook(provider), b" " * (settings.API_BODY_BYTES_MAX + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large") and rows() == before


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "fake", "' OR 1=1", "%00", "x" * 300])
def test_a_provider_that_is_not_there_reads_like_a_forgery(fake, name, db):
    answer = fake.deliver(reverse("api:provider_webhook", args=[name]), {"request_id": "x", "status": "ok"})
    assert (answer.status_code, answer.json()["code"]) == (401, "webhook_forged")


def test_only_posts_are_taken_and_no_session_helps(fake, provider, user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    for method in ("get", "put", "patch", "delete"):
        assert getattr(client, method)(hook(provider)).status_code == 405
    assert client.post(hook(provider), b"{}", content_type="application/json").status_code == 400


def test_a_flood_is_slowed_down(fake, provider, settings):
    settings.PROVIDER_WEBHOOKS_PER_MINUTE = 3
    said = {"request_id": "x", "status": "processing"}
    codes = [fake.deliver(hook(provider), said, secret=HMAC_SECRET_2).status_code for _ in range(8)]  # four of a minute
    assert 429 in codes[3:] and codes[:3] == [401] * 3
    other = make_provider(fake, slug="other")
    assert fake.deliver(hook(other), said).status_code == 202
