"""What providers deliver by webhook: judged, kept once, applied. The pictures themselves are fetched by `work`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from generation.models import Provider, ProviderDelivery, RemoteRequest
from generation.remote import requests, signatures, wire
from generation.remote.errors import WebhookForged, WebhookMalformed
from tenkaigen import alarms
from tenkaigen.failpoints import failpoint

logger = structlog.get_logger(__name__)
KEPT_HOURS = 24
KEPT_MAX = 10  # of one request; more than one is odd enough
BATCH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery. Not known: its request is not there (yet), and it is kept for a day."""

    is_known: bool
    is_new: bool


def receive(provider_id: UUID | None, headers: Mapping[str, str], body: bytes) -> Receipt:
    """Judge a delivery and apply it. The same delivery again changes nothing.

    Raises:
        WebhookMalformed: headers, time or body are not what a delivery has.
        WebhookForged: no good signature, or no such provider.
    """
    delivery_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not signatures.is_well_formed(delivery_id, timestamp) or not signatures.is_fresh(timestamp, time.time()):
        raise WebhookMalformed("Send webhook-id, and a webhook-timestamp of the last five minutes.")
    provider = Provider.objects.filter(id=provider_id).first() if provider_id else None
    signed = signatures.content(delivery_id, timestamp, body)
    if provider is None or not _is_signed(provider, headers.get("webhook-signature", ""), signed):
        raise WebhookForged("The signature is not right.")
    try:
        outcome = wire.read(body)
    except wire.Unreadable as error:
        raise WebhookMalformed(f"The body cannot be understood: {error}.") from error
    if not outcome.request_id:
        raise WebhookMalformed("The body names no request_id.")
    return _keep(provider, delivery_id, outcome)


def apply_kept(request: RemoteRequest) -> bool:
    """Apply what was delivered before we knew the provider's id of a request. Whether there was an answer."""
    kept = ProviderDelivery.objects.filter(
        provider_id=request.provider_id, provider_request_id=request.provider_request_id, applied_at=None
    )
    for delivery in kept.order_by("received_at")[:KEPT_MAX]:
        with transaction.atomic():
            ProviderDelivery.objects.filter(pk=delivery.pk).update(applied_at=Now())
            mine = RemoteRequest.objects.filter(pk=request.pk)
            if requests.note_answer(mine, wire.Outcome.from_dict(delivery.answer)):
                return True
    return False


def delete_old() -> int:
    """Forget deliveries of more than a day ago: their time stamps are refused by now."""
    old = ProviderDelivery.objects.filter(received_at__lt=Now() - timedelta(hours=KEPT_HOURS))
    return ProviderDelivery.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:BATCH_MAX])).delete()[0]


def _keep(provider: Provider, delivery_id: str, outcome: wire.Outcome) -> Receipt:
    named = _named(provider, outcome.request_id)
    try:
        with transaction.atomic():
            is_known = named.exists()
            ProviderDelivery.objects.create(
                provider=provider,
                delivery_id=delivery_id,
                provider_request_id=outcome.request_id,
                answer=outcome.as_dict(),
                applied_at=Now() if is_known else None,
            )
            requests.note_answer(named, outcome)
            failpoint("webhook.before_commit")
    except IntegrityError:
        logger.info("delivery_repeated", provider=provider.slug, delivery=delivery_id)
        return Receipt(is_known=True, is_new=False)
    return Receipt(is_known=is_known, is_new=True)


def _named(provider: Provider, request_id: str) -> QuerySet[RemoteRequest]:
    """The request of this provider that goes by an id, its own or ours. Whose job that is, our row says."""
    names = Q(provider_request_id=request_id)
    try:
        names |= Q(pk=UUID(request_id))
    except ValueError:
        logger.debug("id_of_the_provider")
    return RemoteRequest.objects.filter(names, provider=provider)


def _is_signed(provider: Provider, header: str, signed: bytes) -> bool:
    names = filter(None, (provider.webhook_secret, provider.webhook_secret_next))
    secrets = [secret for name in names if (secret := settings.PROVIDER_SECRETS.get(name))]
    try:
        return signatures.is_signed(provider.signature_scheme, secrets, header=header, signed=signed)
    except signatures.BadSecret as error:
        alarms.ring("provider_secret_unusable", provider=provider.slug, reason=str(error))
        return False
