"""The pictures a model learns from: taken in from files, zips and addresses, captioned and removed.

Every picture is a draft's, or a model's that is not being trained. No file, child or network inside a transaction: a
picture is read and stored first, and its files go again when its row does not win.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts import activity
from accounts.models import ApiKey, User
from credits.plans import Limits, limits_of
from generation import policy, rates, storage
from generation.custom import fetching, queries, rows, rules
from generation.errors import InvalidParams, ModelNotReady, NoSuchModel, PictureRefused, TooFast, TooManyModels
from generation.models import CustomModel, TrainingImage
from generation.params import clean_text
from generation.storage import StorageFailed
from generation.training_limits import CAPTION_CHARS_MAX, UPLOAD_BYTES_MAX, UPLOADS_MAX, URLS_MAX
from generation.uploads import files, likeness, zips
from generation.uploads.decoding import Decoder, UploadsBusy
from generation.uploads.zips import Entry
from tenkaigen.errors import Busy, DomainError
from tenkaigen.outgoing import Client

SECONDS_MAX = 60.0  # for one call: what has not had its turn by then is to be sent again
NAME_CHARS_SHOWN = 80
ALREADY_THERE = "This picture is already there."
NO_TIME = "There was no time left for this one. Send it again."
NOT_STORED = "Pictures cannot be stored at the moment. Try again in a few minutes."
# What ends a call, whatever else it still holds.
ENDS = (TooManyModels, ModelNotReady, NoSuchModel, TooFast, UploadsBusy, Busy)


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was not taken. `name` is a stranger's, made safe to show."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Added:
    """What became of everything that was sent, each in its order."""

    added: list[TrainingImage] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    end: DomainError | None = None  # why nothing more could be taken, whatever it showed


def add_files(model: CustomModel, *, user: User | ApiKey, files: Iterable[tuple[str, bytes | BinaryIO]]) -> Added:
    """Take in pictures, each by itself: (name, content) pairs. The same picture twice is refused the second time.

    Raises:
        InvalidParams: more than `UPLOADS_MAX` files.
        TooManyModels: the model or the team's store is full already; nothing was read.
        TooFast: the team has sent as many as it may in a day; nothing was read.
        ModelNotReady, NoSuchModel: the model is being trained, or was deleted.
    """
    sent = list(files)
    if len(sent) > UPLOADS_MAX:
        raise InvalidParams({"files": f"Send at most {UPLOADS_MAX} files at once; these are {len(sent):,}."})
    return _add(model, user, lambda: (Entry(name, _content(file)) for name, file in sent), "files")


def add_zip(model: CustomModel, *, user: User | ApiKey, file: BinaryIO) -> Added:
    """Take in every picture of a zip.

    Raises:
        PictureRefused: it is no zip, too large, or holds too much.
        As `add_files`.
    """
    return _add(model, user, lambda: zips.entries(file), "zip")


def add_urls(model: CustomModel, *, user: User | ApiKey, urls: Sequence[str], client: Client | None = None) -> Added:
    """Fetch pictures from public addresses. Whatever is wrong with the way there reads the same.

    Args:
        client: tests allow their own servers.

    Raises:
        InvalidParams: more than `URLS_MAX` addresses.
        As `add_files`.
    """
    if len(urls) > URLS_MAX:
        raise InvalidParams({"urls": f"Send at most {URLS_MAX} addresses at once; these are {len(urls):,}."})
    return _add(model, user, lambda: fetching.fetched(urls, client, seconds_max=SECONDS_MAX), "addresses")


@transaction.atomic
def remove(picture: TrainingImage, *, actor: User | ApiKey | str) -> None:
    """Take a picture away, its files too. Doing it again changes nothing.

    Raises:
        ModelNotReady: the model is being trained.
        NoSuchModel, Busy: as `rows.lock`.
    """
    model = _open(picture.model)
    if model.pictures.filter(pk=picture.pk).delete()[0]:
        transaction.on_commit(storage.with_clean_up([picture.key, picture.thumbnail_key]))
        _record(model, actor, "model.picture_removed", picture=str(picture.pk))


@transaction.atomic
def set_caption(picture: TrainingImage, text: str, *, actor: User | ApiKey | str) -> TrainingImage:
    """Say what a picture shows; an empty text leaves it to the trigger word.

    Raises:
        InvalidParams: longer than `CAPTION_CHARS_MAX`, or the picture is gone.
        PromptRefused: the policy forbids it.
        ModelNotReady, NoSuchModel, Busy: as `remove`.
    """
    caption = clean_text(text)
    if len(caption) > CAPTION_CHARS_MAX:
        raise InvalidParams({"caption": f"Use at most {CAPTION_CHARS_MAX} characters; this has {len(caption):,}."})
    policy.refuse(caption)
    model = _open(picture.model)
    if not model.pictures.filter(pk=picture.pk).update(caption=caption):
        raise InvalidParams({"picture": "This picture was removed."})
    picture.caption = caption
    _record(model, actor, "model.captions_changed", pictures=1)
    return picture


@transaction.atomic
def suggest_captions(model: CustomModel, *, actor: User | ApiKey | str) -> int:
    """Give every picture without a caption the suggested one. How many got it; again changes nothing.

    Raises:
        ModelNotReady, NoSuchModel, Busy: as `remove`.
    """
    model = _open(model)
    count = model.pictures.filter(caption="").update(caption=suggestion(model))
    if count:
        _record(model, actor, "model.captions_changed", pictures=count)
    return count


def suggestion(model: CustomModel) -> str:
    """A caption for a picture nobody has described: the trigger word, and what kind of look the model is of."""
    words = [f"a picture of {model.trigger_word or model.name or 'the subject'}"]
    if model.reference:
        words += [model.reference.name.lower(), model.reference.category]
    return clean_text(", ".join(dict.fromkeys(words)))[:CAPTION_CHARS_MAX]


def _add(model: CustomModel, user: User | ApiKey, entries: Callable[[], Iterable[Entry]], source: str) -> Added:
    limits = limits_of(model.team_id)
    rates.count_uploads(model.team_id, 0)
    with transaction.atomic():
        _refuse_full(_open(model), limits, 1)
    added: list[TrainingImage] = []
    refused: list[Refused] = []
    end: DomainError | None = None
    deadline = time.monotonic() + SECONDS_MAX
    with Decoder() as decoder:
        for entry in entries():
            try:
                if end or time.monotonic() > deadline:
                    raise PictureRefused(str(end) if end else NO_TIME)
                added.append(_take(model, limits, decoder, entry))
            except (PictureRefused, *ENDS) as error:
                refused.append(Refused(_shown(entry.name), str(error)))
                end = error if isinstance(error, ENDS) else end
            except StorageFailed:  # it has been logged where it happened
                refused.append(Refused(_shown(entry.name), NOT_STORED))
                end = Busy(NOT_STORED)
    _record(model, user, "model.pictures_added", source=source, pictures=len(added), refused=len(refused))
    return Added(added, refused, end)


def _take(model: CustomModel, limits: Limits, decoder: Decoder, entry: Entry) -> TrainingImage:
    rates.count_uploads(model.team_id, 1)
    if entry.refusal:
        raise PictureRefused(entry.refusal)
    made = files.make(decoder.read(entry.content))
    if model.pictures.filter(sha256=made.sha256).exists():
        raise PictureRefused(ALREADY_THERE)
    picture = _row(model, made)
    try:
        storage.put(picture.key, made.png)
        storage.put(picture.thumbnail_key, made.thumbnail)
        _keep(picture, limits)
    except (DomainError, StorageFailed):
        storage.delete([picture.key, picture.thumbnail_key])
        raise
    return picture


def _row(model: CustomModel, made: files.Files) -> TrainingImage:
    picture_id = uuid4()
    base = f"{settings.MODELS_PREFIX}/{model.team_id}/{model.pk}/images/{picture_id}"
    return TrainingImage(
        id=picture_id,
        model=model,
        team_id=model.team_id,
        key=f"{base}.png",
        thumbnail_key=f"{base}.thumbnail.webp",
        sha256=made.sha256,
        likeness=made.likeness,
        width=made.width,
        height=made.height,
        size_bytes=made.size_bytes,
    )


@transaction.atomic
def _keep(picture: TrainingImage, limits: Limits) -> None:
    """Insert a picture, if the model is still open and there is still room: two uploads at once do not overrun it.

    Raises:
        PictureRefused: the same picture came first.
        TooManyModels, ModelNotReady, NoSuchModel, Busy.
    """
    rows.lock_team(picture.team_id)  # the store is the team's: two of its models may be filled at once
    model = _open(picture.model)
    _refuse_full(model, limits, picture.size_bytes)
    earlier = list(queries.pictures_of(model).only("sha256", "likeness", "position"))
    if any(other.sha256 == picture.sha256 for other in earlier):
        raise PictureRefused(ALREADY_THERE)
    place = likeness.nearest(picture.likeness, (other.likeness for other in earlier))
    picture.like = None if place is None else earlier[place]
    picture.position = earlier[-1].position + 1 if earlier else 0
    picture.save(force_insert=True)
    CustomModel.objects.filter(pk=model.pk).update(updated_at=Now())


def _open(model: CustomModel) -> CustomModel:
    """The model, locked. Raises: ModelNotReady, while it is being trained; NoSuchModel; Busy."""
    model = rows.lock(model)
    rules.refuse_open_training(model)
    return model


def _refuse_full(model: CustomModel, limits: Limits, more_bytes: int) -> None:
    most = rules.pictures_max(limits)
    if model.pictures.count() >= most:
        raise TooManyModels(f"The {limits.name} plan allows {most} pictures a model. Take one away first.")
    rules.refuse_storage(model.team, limits, more_bytes)


def _content(file: bytes | BinaryIO) -> bytes:
    return file if isinstance(file, bytes) else file.read(UPLOAD_BYTES_MAX + 1)


def _shown(name: str) -> str:
    """A stranger's file name as it may stand on a page: its last part, one line, nothing invisible, not long."""
    is_address = "://" in name[:12]
    last = name if is_address else name.replace("\\", "/").rpartition("/")[2]
    text = clean_text(last) or "a file without a name"
    return text if len(text) <= NAME_CHARS_SHOWN else f"{text[: NAME_CHARS_SHOWN - 1]}…"


def _record(model: CustomModel, actor: User | ApiKey | str, verb: str, **details: object) -> None:
    name = model.name or "a draft"
    activity.record(team=model.team, actor=actor, verb=verb, target=name, model=str(model.pk), **details)
