"""One picture on trial: the whole way to a provider and back, without a job, a row or a charge."""

import time
from collections.abc import Iterator
from uuid import uuid4

from django.conf import settings

from generation.engine import catalog, safety
from generation.models import Job, Provider, RemoteRequest
from generation.remote import calls, signatures, wire
from tenkaigen import outgoing

PROMPT = "a beautiful sunset over mountains"


def order_one(
    provider: Provider, client: outgoing.Client, *, model: str = "", seconds_max: float = 0
) -> Iterator[tuple[str, object]]:
    """Order a picture and wait for it by asking. Yields (fact, value), as they are known.

    Raises:
        CallFailed: it does not come, or is no picture.
    """
    began = time.monotonic()
    request = _request(provider, catalog.get(model or provider.serves[0]))
    gateway = calls.Gateway(client)
    yield "callback", calls.callback_of(provider) or "none: SITE_URL or the webhook secret is not set"
    yield from _judge_webhook_secrets(provider)
    outcome = gateway.order(request)
    request.provider_request_id = outcome.request_id or str(request.id)
    yield "request_id", request.provider_request_id
    until = began + (seconds_max or provider.deadline_seconds)
    while not outcome.is_done:
        if not provider.status_url:
            yield "answer", "comes by webhook only, which this command does not wait for"
            return
        if time.monotonic() > until:
            raise calls.CallFailed(calls.UNSURE, f"no answer in {until - began:.0f} s")
        time.sleep(settings.REMOTE_RETRY_SECONDS)
        outcome = gateway.ask(request)
    yield "answered_seconds", f"{time.monotonic() - began:.2f}"
    yield from _judge(gateway, request, outcome)


def _judge(
    gateway: calls.Gateway, request: RemoteRequest, outcome: wire.Outcome
) -> Iterator[tuple[str, object]]:  # fmt: skip
    if outcome.is_failed:
        raise calls.CallFailed(calls.REFUSED, outcome.error)
    (picture,) = gateway.fetch(request.provider, request.job, outcome.images)
    yield "size", f"{picture.shape[1]}x{picture.shape[0]}"
    verdict = safety.check(picture)
    yield "picture", "ok" if verdict.ok else f"{verdict.code}: {verdict.reason}"


def _judge_webhook_secrets(provider: Provider) -> Iterator[tuple[str, object]]:
    for name in filter(None, (provider.webhook_secret, provider.webhook_secret_next)):
        try:
            signatures.key_of(provider.signature_scheme, settings.PROVIDER_SECRETS.get(name, ""))
        except signatures.BadSecret as error:
            raise calls.CallFailed(calls.NOT_NOW, f"PROVIDER_SECRET_{name}: {error}") from error
        yield "webhook_secret", f"{name} ok"


def _request(provider: Provider, spec: catalog.ModelSpec) -> RemoteRequest:
    width, height = spec.default_size
    job = Job(
        expanded_prompt=PROMPT,
        model=spec.name,
        width=width,
        height=height,
        count=1,
        seed=1,
        num_inference_steps=spec.steps_default,
        guidance_scale=spec.guidance_default,
    )
    return RemoteRequest(provider=provider, job=job, fence=1, request_key=f"trial.{uuid4()}")
