"""The calls to a provider, and what their answers mean for the request. Network, no rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.urls import reverse

from generation.models import Job, Provider, RemoteRequest
from generation.remote import pictures, wire
from generation.uploads.decoding import UploadsBusy
from tenkaigen import outgoing

if TYPE_CHECKING:
    import numpy as np

JSON = outgoing.Limits(wire.ANSWER_BYTES_MAX, frozenset({"application/json"}), seconds_max=30, redirects_max=0)
PICTURE = outgoing.Limits(pictures.BYTES_MAX, pictures.CONTENT_TYPES, seconds_max=30, redirects_max=3)
NOT_NOW = "not now"  # it has not taken the request, and takes none: its key, its address or its limits
REFUSED = "refused"  # this very request is wrong, and will be next time
UNSURE = "unsure"  # it may have taken it: the same call again does no harm, it carries the same key
WRONG = frozenset({400, 413, 415, 422})
NOT_TAKEN = frozenset({401, 402, 403, 404, 405, 429})
GONE = frozenset({404, 410, 422})


class CallFailed(Exception):
    """A call did not bring what was asked for; `kind` says what follows, `str(error)` why, for staff."""

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        super().__init__(reason)


class Gateway:
    """All ways to a provider. Safe to share between threads."""

    def __init__(self, client: outgoing.Client) -> None:
        self._client = client

    def order(self, request: RemoteRequest) -> wire.Outcome:
        """Ask for a job's pictures.

        Raises:
            CallFailed: of any kind.
        """
        provider = request.provider
        call = wire.order(
            provider,
            request.job,
            key=request.request_key,
            request_id=str(request.id),
            secret=secret_of(provider),
            callback=callback_of(provider),
        )
        try:
            answer = self._client.post(call.url, call.body, JSON, headers=call.headers)
        except outgoing.UrlRefused as error:
            raise CallFailed(NOT_NOW, error.detail) from error
        except outgoing.OutgoingError as error:
            raise CallFailed(UNSURE, error.detail) from error
        if answer.status in NOT_TAKEN or 300 <= answer.status < 400:
            raise CallFailed(NOT_NOW, f"answered {answer.status}")
        if answer.status in WRONG:
            raise CallFailed(REFUSED, f"answered {answer.status}: {_words(answer)}")
        return _read(answer)

    def ask(self, request: RemoteRequest) -> wire.Outcome:
        """Ask how a request stands, and for its result where that has an address of its own.

        Raises:
            CallFailed: REFUSED, the provider does not know the request (any more); UNSURE.
        """
        provider = request.provider
        outcome = self._ask(provider, provider.status_url, request.provider_request_id)
        if outcome.is_done and not outcome.images and not outcome.is_failed:
            if not provider.result_url:
                raise CallFailed(REFUSED, "done, without pictures and without an address for them")
            return self._ask(provider, provider.result_url, request.provider_request_id)
        return outcome

    def fetch(self, provider: Provider, job: Job, images: Sequence[str]) -> "list[np.ndarray]":
        """Fetch and decode every picture of a job: (height, width, 3) uint8 each.

        Raises:
            CallFailed: UNSURE, they may come another time; REFUSED, they are not what was ordered.
        """
        if len(images) != job.count:
            raise CallFailed(REFUSED, f"{len(images)} pictures instead of {job.count}")
        return [self._picture(provider, job, url) for url in images]

    def _ask(self, provider: Provider, template: str, request_id: str) -> wire.Outcome:
        call = wire.question(provider, template, request_id=request_id, secret=secret_of(provider))
        try:
            answer = self._client.get(call.url, JSON, headers=call.headers)
        except outgoing.OutgoingError as error:
            raise CallFailed(UNSURE, error.detail) from error
        if answer.status in GONE:
            raise CallFailed(REFUSED, f"answered {answer.status}: {_words(answer)}")
        return _read(answer)

    def _picture(self, provider: Provider, job: Job, url: str) -> "np.ndarray":
        try:
            answer = self._client.get(url, PICTURE, hosts=provider.result_hosts)
        except outgoing.FetchFailed as error:
            raise CallFailed(UNSURE, error.detail) from error
        except outgoing.OutgoingError as error:
            raise CallFailed(REFUSED, error.detail) from error
        if not answer.is_ok:
            raise CallFailed(UNSURE, f"a picture answered {answer.status}")
        try:
            return pictures.decode(answer.body, width=job.width, height=job.height)
        except pictures.BadPicture as error:
            raise CallFailed(REFUSED, f"no picture: {error}") from error
        except UploadsBusy as error:
            raise CallFailed(UNSURE, "all readers of pictures are at work") from error


def secret_of(provider: Provider) -> str:
    """What we sign in with.

    Raises:
        CallFailed: NOT_NOW, it is not in the environment.
    """
    secret = str(settings.PROVIDER_SECRETS.get(provider.api_secret, ""))
    if not secret:
        raise CallFailed(NOT_NOW, f"PROVIDER_SECRET_{provider.api_secret} is not set")
    return secret


def callback_of(provider: Provider) -> str:
    """Where a provider calls back; empty when it cannot, or when nobody could check that it was it."""
    if not settings.SITE_URL or not provider.webhook_secret:
        return ""
    return f"{settings.SITE_URL}{reverse('api:provider_webhook', args=[provider.id])}"


def _read(answer: outgoing.Answer) -> wire.Outcome:
    if not answer.is_ok:
        raise CallFailed(UNSURE, f"answered {answer.status}: {_words(answer)}")
    try:
        return wire.read(answer.body)
    except wire.Unreadable as error:
        raise CallFailed(UNSURE, str(error)) from error


def _words(answer: outgoing.Answer) -> str:
    return answer.body[:200].decode(errors="replace")
