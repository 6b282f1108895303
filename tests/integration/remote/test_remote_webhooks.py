"""Deliveries by webhook: each once, none that is forged, and whichever is first, they or the answer to a question."""

import pytest

from generation.models import Image, Job, ProviderDelivery, RemoteRequest
from generation.remote import deliveries
from tests.drawing import credits_of
from tests.factories import make_job
from tests.fake_provider import HMAC_SECRET_2, sign_ed25519, sign_hmac
from tests.remote import hook, make_provider, run, states


def status_of(job: Job) -> str:
    return Job.objects.values_list("status", flat=True).get(pk=job.pk)


def rows() -> list[object]:
    return [list(model.objects.order_by("pk").values()) for model in (Job, Image, RemoteRequest, ProviderDelivery)]


# --- The good way ---------------------------------------------------------------------------------------------------
def test_a_webhook_brings_the_pictures(worker, fake, provider, job, user):
    answer = fake.deliver(hook(provider), fake.finished[fake.finish()])
    assert (answer.status_code, answer.json()) == (200, {"is_new": True})
    assert status_of(job) == "processing"  # a worker fetches the pictures: no visitor of ours makes us call anybody
    run(worker)
    assert status_of(job) == "completed" and states() == ["delivered"] and credits_of(user) == (9400, 0)


def test_the_webhook_of_a_queue_has_its_pictures_in_a_payload(worker, fake, user):
    provider = make_provider(fake, kind="queue")
    job = make_job(user)
    run(worker)
    request_id, order = next(iter(fake.orders.items()))
    payload = {"images": [{"url": fake.put_picture(order), "content_type": "image/png"}], "seed": 3}
    said = {"request_id": request_id, "gateway_request_id": "x", "status": "OK", "payload": payload, "error": None}
    assert fake.deliver(hook(provider), said).status_code == 200
    run(worker)
    assert status_of(job) == "completed" and credits_of(user) == (9400, 0)


def test_a_payload_that_did_not_fit_is_asked_for(worker, fake, user):
    provider = make_provider(fake, kind="queue")
    job = make_job(user)
    run(worker)
    request_id = fake.finish(status="COMPLETED")
    RemoteRequest.objects.update(next_poll_at="2999-01-01T00:00:00Z", deadline_at="2999-01-02T00:00:00Z")
    fake.deliver(hook(provider), {"request_id": request_id, "status": "OK", "payload": None, "payload_error": "large"})
    run(worker, 3)
    assert status_of(job) == "completed" and credits_of(user) == (9400, 0)


def test_a_webhook_may_say_that_it_failed(worker, fake, provider, job, user, settings):
    settings.JOB_ATTEMPTS_MAX = 1
    request_id = list(fake.orders)[-1]
    said = {"request_id": request_id, "status": "ERROR", "error": "out of memory", "payload": {"detail": []}}
    assert fake.deliver(hook(provider), said).status_code == 200
    run(worker)
    assert status_of(job) == "failed" and states() == ["failed"] and credits_of(user) == (10_000, 0)


def test_a_provider_without_ids_of_its_own_goes_by_ours(worker, fake, provider, user):
    fake.names_requests = False
    job = make_job(user)
    run(worker)
    ours = str(RemoteRequest.objects.get().id)
    said = {**fake.finished[fake.finish()], "request_id": ours}
    assert fake.deliver(hook(provider), said).status_code == 200
    run(worker)
    assert status_of(job) == "completed" and credits_of(user) == (9400, 0)


def test_progress_is_no_answer(worker, fake, provider, job):
    request_id = list(fake.orders)[-1]
    assert fake.deliver(hook(provider), {"request_id": request_id, "status": "IN_PROGRESS"}).status_code == 200
    run(worker)
    assert status_of(job) == "processing" and states() == ["posted"]


# --- Twice, five times at once, in any order ------------------------------------------------------------------------
def test_the_same_delivery_again_changes_nothing(worker, fake, provider, job, user):
    said = fake.finished[fake.finish()]
    answers = [fake.deliver(hook(provider), said, delivery_id="msg_1") for _ in range(3)]
    assert [(a.status_code, a.json()["is_new"]) for a in answers] == [(200, True), (200, False), (200, False)]
    run(worker, 2)
    before = rows()
    assert fake.deliver(hook(provider), said, delivery_id="msg_1").json() == {"is_new": False}
    assert fake.deliver(hook(provider), said, delivery_id="msg_2").json() == {"is_new": True}
    run(worker, 2)
    assert rows()[:3] == before[:3] and credits_of(user) == (9400, 0)


def test_the_end_may_come_before_the_progress(worker, fake, provider, job, user):
    request_id = fake.finish()
    fake.deliver(hook(provider), fake.finished[request_id])
    fake.deliver(hook(provider), {"request_id": request_id, "status": "processing"})
    fake.deliver(hook(provider), {"request_id": request_id, "status": "failed", "error": "late second thought"})
    run(worker, 2)
    assert status_of(job) == "completed" and credits_of(user) == (9400, 0)


def test_an_unknown_request_is_kept_until_we_know_it(worker, fake, provider, user):
    """The provider calls back before we have heard the answer to our post."""
    fake.next_id = "req-early"
    said = {"request_id": "req-early", "status": "completed", "images": [{"url": f"{fake.url}/early.png"}]}
    answer = fake.deliver(hook(provider), said)
    assert (answer.status_code, answer.json()) == (202, {"is_new": True})
    job = make_job(user)
    early = fake.put_picture({"width": job.width, "height": job.height, "seed": 1})
    fake.answers["/early.png"] = fake.answers[early.removeprefix(fake.url)]
    run(worker, 4)
    assert status_of(job) == "completed" and credits_of(user) == (9400, 0)
    assert fake.deliver(hook(provider), {**said, "request_id": "req-never"}).status_code == 202
    ProviderDelivery.objects.update(received_at="2026-01-01T00:00:00Z")
    assert deliveries.delete_old() == 2 and not ProviderDelivery.objects.exists()


def test_another_providers_request_is_unknown(worker, fake, provider, job, user):
    other = make_provider(fake, slug="other", is_active=False)
    before = rows()[:3]
    assert fake.deliver(hook(other), fake.finished[fake.finish()]).status_code == 202
    run(worker)
    assert rows()[1] == before[1] and status_of(job) == "processing"


# --- Secrets and schemes --------------------------------------------------------------------------------------------
def test_while_rotating_both_secrets_are_good(worker, fake, user):
    provider = make_provider(fake, webhook_secret_next="HOOK_2")
    said = {"request_id": "x", "status": "processing"}
    assert fake.deliver(hook(provider), said).status_code == 202
    assert fake.deliver(hook(provider), said, secret=HMAC_SECRET_2).status_code == 202
    provider.webhook_secret, provider.webhook_secret_next = "HOOK_2", ""
    provider.save()
    assert fake.deliver(hook(provider), said, secret=HMAC_SECRET_2).status_code == 202
    assert fake.deliver(hook(provider), said).status_code == 401


def test_a_list_of_signatures_needs_one_good_one(fake, provider):
    def two(signed, secret):
        return f"v1,AAAA v9,what {sign_hmac(signed, secret)}"

    assert fake.deliver(hook(provider), {"request_id": "x", "status": "ok"}, sign=two).status_code == 202


def test_ed25519_is_checked_with_the_public_key(worker, fake, user):
    provider = make_provider(fake, signature_scheme="ed25519", webhook_secret="ED25519", status_url="")
    job = make_job(user)
    run(worker)
    said = fake.finished[fake.finish()]
    # Under this scheme an HMAC made with the public key, which is no secret, must not count.
    assert fake.deliver(hook(provider), said).status_code == 401
    assert fake.deliver(hook(provider), said, sign=lambda s, _: sign_ed25519(s + b"x")).status_code == 401
    assert fake.deliver(hook(provider), said, sign=sign_ed25519).status_code == 200
    run(worker)
    assert status_of(job) == "completed" and credits_of(user) == (9400, 0)


@pytest.mark.parametrize("secret", ["", "short", "whsec_", "whsec_!!!notbase64!!!", "whsec_AAAA"])
def test_a_secret_that_is_none_opens_nothing(fake, provider, settings, secret):
    settings.PROVIDER_SECRETS = {"FAKE": "x", "HOOK": secret}
    for given in (secret, "whsec_", "whsec_AAAA"):
        answer = fake.deliver(
            hook(provider), {"request_id": "x", "status": "ok"}, sign=lambda s, _, g=given: sign_with(s, g)
        )
        assert answer.status_code == 401
    assert not ProviderDelivery.objects.exists()


def sign_with(signed: bytes, secret: str) -> str:
    try:
        return sign_hmac(signed, secret)
    except ValueError:
        return "v1,"
