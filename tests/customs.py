"""Models of a team's own as tests need them: rows only, no training."""

from itertools import count
from typing import Any

from accounts.models import Team
from generation.models import CustomModel, Job, ModelVersion, ReferenceModel
from tests.factories import make_job

_numbers = count(1)


def make_trained(team: Team, *, versions: int = 1, **fields: Any) -> CustomModel:
    """A model that was trained so many times; the last version is the current one."""
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
