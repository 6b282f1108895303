"""A model by one request, for programs: begun, filled and trained, or not there at all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.cache import cache
from django.db import transaction

from accounts.models import ApiKey, Team, User
from generation import services as job_services
from generation.custom import drafts, pictures, services
from generation.errors import PictureRefused
from generation.models import CustomModel, Job
from generation.params import fingerprint_of
from tenkaigen.errors import Busy, DomainError

ORDER_SECONDS_MAX = 120  # the pictures have half of it; after a crash the order may come again this late


def create(
    *,
    team: Team,
    user: User,
    fields: dict[str, Any],
    urls: Sequence[str],
    trains: bool,
    request_key: str,
    at_most_centi: int | None = None,
    api_key: ApiKey | None = None,
) -> CustomModel | Job:
    """Begin a draft with these fields and pictures. With `trains` its first training is the answer, else the draft.

    A repeated `request_key` of a training answers with the first job. Whatever is refused, a single picture or the
    training, takes everything back.

    Raises:
        Busy: the order came a second time while its pictures are still being fetched.
        PictureRefused: a picture was not taken; the message says which and why.
        TooManyModels, TooFast, UploadsBusy, Busy: one was not, whatever it shows, for want of room, turns or readers.
        Everything that `drafts.begin`, `drafts.change`, `pictures.add_urls` and `services.submit_training` raise.
    """
    fingerprint = fingerprint_of({"kind": Job.Kind.CREATION, "fields": fields, "urls": list(urls)})
    if not trains:
        return _draft(team, user, fields, urls)
    with _once_at_a_time(team, request_key):
        if first := job_services.job_of_key(team, request_key, fingerprint):
            return first
        model = _draft(team, user, fields, urls)
        try:
            return services.submit_training(
                model, user=user, request_key=request_key, at_most_centi=at_most_centi, api_key=api_key,
                fingerprint=fingerprint,
            )  # fmt: skip
        except DomainError:
            services.delete_model(model, actor=user)
            raise


@contextmanager
def _once_at_a_time(team: Team, request_key: str) -> Iterator[None]:
    """Else whoever asks again too soon would hear that the trigger word is taken, by the very model they asked for."""
    turn = f"order:{team.pk}:{request_key}"
    if not cache.add(turn, 1, ORDER_SECONDS_MAX):
        raise Busy("The pictures of this order are being fetched. Ask again in a few seconds.")
    try:
        yield
    finally:
        cache.delete(turn)


def _draft(team: Team, user: User, fields: dict[str, Any], urls: Sequence[str]) -> CustomModel:
    with transaction.atomic():
        model = drafts.begin(team=team, user=user)
        if fields:
            model = drafts.change(model, actor=user, **fields)
    try:
        if urls:
            _refuse_any(pictures.add_urls(model, user=user, urls=urls))
    except DomainError:
        services.delete_model(model, actor=user)
        raise
    return model


def _refuse_any(added: pictures.Added) -> None:
    if added.refused:
        words = " ".join(f"{refused.name}: {refused.reason}" for refused in added.refused)
        raise added.end or PictureRefused(words)
