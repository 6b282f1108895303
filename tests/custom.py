"""Models of one's own for tests: drafts with pictures that have no files, and trainings that are done at once."""

from hashlib import sha256
from itertools import count
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Team, User
from credits import ledger
from generation.custom import drafts, services
from generation.models import CustomModel, Job, ModelVersion, ReferenceModel, TrainingImage
from tests.factories import make_job, team_of

_numbers = count(1)


def make_reference(complexity: str = "1.5", **fields: Any) -> ReferenceModel:
    number = next(_numbers)
    facts = {"slug": f"look-{number}", "name": f"Look {number}", "category": "fashion", "description": "A look."}
    return ReferenceModel.objects.create(
        **facts | {"complexity": complexity, "recipe": "{prompt}, a look", "example_prompt": "a coat"} | fields
    )


def make_draft(user: User, *, pictures: int = 3, **fields: Any) -> CustomModel:
    """A draft that lacks nothing."""
    model = drafts.begin(team=team_of(user), user=user, reference=fields.pop("reference", None) or make_reference())
    word = f"zuko{next(_numbers)}"
    defaults = {"name": "My dog Zuko", "trigger_word": word, "has_consent": True}
    model = drafts.change(model, actor=user, **defaults | fields)
    add_pictures(model, pictures)
    return model


def add_pictures(model: CustomModel, number: int) -> list[TrainingImage]:
    first = model.pictures.count()
    return [add_picture(model, position) for position in range(first, first + number)]


def add_picture(model: CustomModel, position: int) -> TrainingImage:
    picture_id = uuid4()
    base = f"models/{model.team_id}/{model.pk}/images/{picture_id}"
    return TrainingImage.objects.create(
        id=picture_id, model=model, team=model.team, position=position, key=f"{base}.png",
        thumbnail_key=f"{base}.thumbnail.webp", sha256=sha256(picture_id.bytes).hexdigest(), likeness=position,
        width=256, height=256, size_bytes=1000, caption="a dog",
    )  # fmt: skip


def train(job: Job) -> ModelVersion:
    """End a training well: charged, its adapter there and, as its model's newest version, the current one."""
    version = job.trained_version
    base = f"models/{job.team_id}/{version.model_id}/{version.pk}.1"
    with transaction.atomic():
        Job.objects.filter(pk=job.pk).update(status="completed", finished_at=Now(), charged_centi=job.quoted_centi)
        ledger.settle(team_id=job.team_id, reference=str(job.pk), delivered=1)
        samples = [{"step": 40, "prompt": "zuko", "seed": 11, "key": f"{base}/sample-40-0.webp"}]
        ModelVersion.objects.filter(pk=version.pk).update(
            adapter_key=f"{base}/adapter.safetensors", adapter_sha256="0" * 64, adapter_bytes=5000, samples=samples,
            losses=[[10, 0.5], [20, 0.25]], steps_done=job.num_inference_steps, finished_at=Now(),
        )  # fmt: skip
        CustomModel.objects.filter(pk=version.model_id).update(current=version)
    version.refresh_from_db()
    return version


def make_model(user: User, **fields: Any) -> CustomModel:
    """A trained model: version 1 is there and current."""
    model = make_draft(user, **fields)
    train(services.submit_training(model, user=user, request_key=uuid4().hex))
    model.refresh_from_db()
    return model


def make_trained(team: Team, *, versions: int = 1, **fields: Any) -> CustomModel:
    """Rows only: a model that was trained so many times; the last version is the current one."""
    user = team.memberships.get(role="owner").user
    defaults = {
        "name": "Aki",
        "trigger_word": f"zuko{next(_numbers)}",
        "base_model": "starter",
        "reference": ReferenceModel.objects.get(slug="street-style"),
    }
    model = CustomModel.objects.create(team=team, user=user, **defaults | fields)
    parent = None
    for number in range(1, versions + 1):
        job = make_job(user)  # stands for the training
        parent = ModelVersion.objects.create(
            model=model,
            number=number,
            parent=parent,
            iteration=number - 1,
            job=job,
            settings={},
            images_count=6,
            adapter_key=f"models/{model.pk}/{number}",
            adapter_sha256="0" * 64,
            adapter_bytes=1000,
        )
    Job.objects.filter(trained_version__model=model).update(status="canceled", finished_at=job.created_at)
    CustomModel.objects.filter(pk=model.pk).update(current=parent, submitted_at=model.created_at or job.created_at)
    model.refresh_from_db()
    return model
