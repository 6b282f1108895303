"""The rows of versions, as a training writes them. Only `transitions` calls this, with the job locked."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models.functions import Now

from generation.models import CustomModel, Job, ModelVersion


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a training leaves: a file in the store, and what it is made for."""

    key: str
    sha256: str
    bytes: int
    base_revision: str


def note(job: Job, **columns: object) -> bool:
    """Write how far a training has come. False: its version was deleted."""
    return bool(ModelVersion.objects.filter(job_id=job.id, deleted_at=None).update(**columns))


def complete(job: Job, adapter: Adapter, losses: Sequence[object]) -> None:
    """Give a version its adapter, and make it the one that people draw with."""
    model = CustomModel.objects.select_for_update(no_key=True, of=("self",)).get(versions__job_id=job.id)
    # Deleting a version or its model cancels the training first, which raises the fence.
    assert model.deleted_at is None
    version = ModelVersion.objects.get(job_id=job.id)
    version.adapter_key, version.adapter_sha256, version.adapter_bytes = adapter.key, adapter.sha256, adapter.bytes
    version.base_revision, version.finished_at = adapter.base_revision, Now()
    version.steps_done, version.losses = job.num_inference_steps, list(losses)
    version.checkpoint_key = version.checkpoint_sha256 = ""
    version.save()
    CustomModel.objects.filter(pk=model.pk).update(current=version, updated_at=Now())
