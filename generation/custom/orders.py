"""A model by one request, for programs: begun, filled and trained, or not there at all."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from accounts.models import ApiKey, Team, User
from generation import services as job_services
from generation.custom import drafts, pictures, services
from generation.errors import PictureRefused
from generation.models import CustomModel, Job
from generation.params import fingerprint_of
from tenkaigen.errors import DomainError


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
        PictureRefused: a picture was not taken; the message says which and why.
        TooManyModels, TooFast, UploadsBusy, Busy: one was not, whatever it shows, for want of room, turns or readers.
        Everything that `drafts.begin`, `drafts.change`, `pictures.add_urls` and `services.submit_training` raise.
    """
    fingerprint = fingerprint_of({"kind": Job.Kind.CREATION, "fields": fields, "urls": list(urls)})
    if trains and (first := job_services.job_of_key(team, request_key, fingerprint)):
        return first
    with transaction.atomic():
        model = drafts.begin(team=team, user=user)
        if fields:
            model = drafts.change(model, actor=user, **fields)
    try:
        if urls:
            _refuse_any(pictures.add_urls(model, user=user, urls=urls))
        if not trains:
            return model
        return services.submit_training(
            model, user=user, request_key=request_key, at_most_centi=at_most_centi, api_key=api_key,
            fingerprint=fingerprint,
        )  # fmt: skip
    except DomainError:
        services.delete_model(model, actor=user)
        raise


def _refuse_any(added: pictures.Added) -> None:
    if added.refused:
        words = " ".join(f"{refused.name}: {refused.reason}" for refused in added.refused)
        raise added.end or PictureRefused(words)
