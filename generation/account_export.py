"""Everything there is about a person, as one zip that is made while it is sent: nothing is kept, nothing grows."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import structlog
from allauth.account.models import EmailAddress
from django.core.serializers.json import DjangoJSONEncoder

from accounts.models import Activity, ApiKey, Membership, Team, User
from credits.amounts import plain
from credits.queries import whole_statement
from generation import storage
from generation.models import CustomModel, Image, Job, ModelVersion, TrainingImage

logger = structlog.get_logger(__name__)
CHUNK_ROWS = 500
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so
ABOUT = """What is in here

profile.json      you: addresses, teams and roles, API keys (without their secrets), what you did
prompts.json      every job you ordered: its words, its settings, what it cost
images/           your pictures, named as in prompts.json
models.json       the models of your own that you began: captions, versions, settings
models/           the pictures they learned from, and the trained files (safetensors)
statements/       the credits of the teams you own, every movement
missing.txt       only if a picture's file could not be read
"""
JOB_FIELDS = (
    "id", "team_id", "created_at", "status", "prompt", "expanded_prompt", "negative_prompt", "style", "product",
    "model", "model_revision", "width", "height", "quality", "count", "seed", "num_inference_steps", "guidance_scale",
    "charged_centi", "finished_at",
)  # fmt: skip
MODEL_FIELDS = ("id", "team_id", "name", "description", "trigger_word", "base_model", "created_at", "submitted_at")
VERSION_FIELDS = (
    "number",
    "iteration",
    "settings",
    "losses",
    "base_revision",
    "adapter_sha256",
    "created_at",
    "finished_at",
)
STATEMENT_COLUMNS = ("number", "time", "kind", "amount", "available_after", "reserved_after", "reason")


class _Outlet(io.RawIOBase):
    """Where the zip is written to; what has come since the last look is taken away at once."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self.waiting)
        self.waiting.clear()
        return taken


def zip_of(user: User) -> Iterator[bytes]:
    """The zip, a piece at a time, with at most one picture in memory. A picture that cannot be read is listed in it."""
    outlet = _Outlet()
    missing: list[str] = []
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        archive.writestr("README.txt", ABOUT)
        archive.writestr("profile.json", _json(_profile(user)))
        yield outlet.take()
        archive.writestr("prompts.json", _json(list(_jobs(user))))
        yield outlet.take()
        for team in Team.objects.filter(memberships__user=user, memberships__role=Membership.Role.OWNER):
            archive.writestr(f"statements/{team.pk}.csv", _statement(team))
            yield outlet.take()
        archive.writestr("models.json", _json(list(_models(user))))
        for name, key in _files(user):
            try:
                content = storage.read(key)
            except Exception as error:  # every back end has its own family of errors; the rest is still worth having
                logger.warning("export_misses_picture", file=name, error=type(error).__name__)
                missing.append(name)
                continue
            archive.writestr(name, content, zipfile.ZIP_STORED)
            yield outlet.take()
        if missing:
            archive.writestr("missing.txt", "\n".join(missing))
    yield outlet.take()


def _profile(user: User) -> dict[str, object]:
    places = Membership.objects.filter(user=user).select_related("team")
    acts = Activity.objects.filter(actor_user=user).order_by("created_at")
    return {
        "email": user.email,
        "name": user.name,
        "joined": user.date_joined,
        "confirmed": user.confirmed_at,
        "addresses": list(EmailAddress.objects.filter(user=user).values("email", "verified", "primary")),
        "teams": [
            {"id": one.team_id, "name": one.team.name, "role": one.role, "since": one.created_at} for one in places
        ],
        "keys": list(
            ApiKey.objects.filter(user=user).values(
                "name", "prefix", "scopes", "created_at", "last_used_at", "revoked_at"
            )
        ),
        "activity": list(acts.values("created_at", "team_id", "verb", "target", "details")),
    }


def _jobs(user: User) -> Iterator[dict[str, object]]:
    jobs = Job.objects.filter(user=user).order_by("created_at", "id").prefetch_related("images")
    for job in jobs.iterator(chunk_size=CHUNK_ROWS):
        yield {name: getattr(job, name) for name in JOB_FIELDS} | {
            "images": [_name(image) for image in job.images.all()]
        }


def _models(user: User) -> Iterator[dict[str, object]]:
    models = CustomModel.objects.filter(user=user, deleted_at=None).order_by("created_at", "id")
    for model in models.prefetch_related("pictures", "versions").iterator(chunk_size=CHUNK_ROWS):
        yield {name: getattr(model, name) for name in MODEL_FIELDS} | {
            "pictures": [{"file": _picture_name(one), "caption": one.caption} for one in model.pictures.all()],
            "versions": [{name: getattr(one, name) for name in VERSION_FIELDS} for one in model.versions.all()],
        }


def _files(user: User) -> Iterator[tuple[str, str]]:
    """What a file is called in the zip, and its key."""
    for image in Image.objects.filter(job__user=user).order_by("id").iterator(chunk_size=CHUNK_ROWS):
        yield _name(image), image.key
    pictures = TrainingImage.objects.filter(model__user=user, model__deleted_at=None).order_by("id")
    for picture in pictures.iterator(chunk_size=CHUNK_ROWS):
        yield _picture_name(picture), picture.key
    versions = ModelVersion.objects.filter(model__user=user, deleted_at=None).exclude(adapter_key="").order_by("id")
    for version in versions.iterator(chunk_size=CHUNK_ROWS):
        yield f"models/{version.model_id}/version-{version.number}.safetensors", version.adapter_key


def _picture_name(picture: TrainingImage) -> str:
    return f"models/{picture.model_id}/{picture.pk}.png"


def _statement(team: Team) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(STATEMENT_COLUMNS)
    for entry in whole_statement(team):
        amounts = (entry.amount_centi, entry.available_after_centi, entry.held_after_centi)
        moment = entry.created_at.isoformat(timespec="seconds")
        reason = f"'{entry.reason}" if entry.reason.startswith(FORMULA_STARTS) else entry.reason
        writer.writerow([entry.seq, moment, entry.kind, *map(plain, amounts), reason])
    return text.getvalue()


def _name(image: Image) -> str:
    return f"images/{image.job_id}-{image.index}.png"


def _json(value: object) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, indent=1, ensure_ascii=False)
