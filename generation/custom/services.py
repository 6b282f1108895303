"""What people may do with models of their own: train, refine, choose a version, rename, delete."""

from django.db import transaction
from django.db.models.functions import Now

from accounts import activity
from accounts.models import User
from generation import policy, services, storage, transitions
from generation.custom import drafts, queries, rows
from generation.custom.rules import problems_of, quote_of, quote_refinement
from generation.custom.trainings import refine, submit_training
from generation.errors import InvalidParams, ModelNotReady, VersionInUse
from generation.models import CustomModel, Job, ModelVersion
from tenkaigen.errors import Busy

__all__ = [
    "delete_model", "delete_version", "problems_of", "promote", "quote_of", "quote_refinement", "refine", "rename",
    "submit_training",
]  # fmt: skip


@transaction.atomic
def rename(
    model: CustomModel, *, actor: User | str, name: str | None = None, description: str | None = None
) -> CustomModel:
    """Give a model another name or description, at any time. What is None stays.

    Raises:
        InvalidParams, PromptRefused: as `drafts.change`.
        NoSuchModel, Busy: as `rows.lock`.
    """
    problems: dict[str, str] = {}
    given = {"name": name, "description": description}
    texts = {field: drafts.text_of(field, text, problems) for field, text in given.items() if text is not None}
    model = rows.lock(model)
    if texts.get("name") == "" and not model.is_draft:
        problems["name"] = "The model needs a name."
    if problems:
        raise InvalidParams(problems)
    policy.refuse(*texts.values())
    for field, text in texts.items():
        setattr(model, field, text)
    drafts.save(model, *texts)
    if not model.is_draft:
        _record(model, actor, "model.changed")
    return model


@transaction.atomic
def promote(model: CustomModel, version: ModelVersion, *, actor: User | str) -> CustomModel:
    """Draw with this version from now on; an older one rolls back. The current one again changes nothing.

    Raises:
        ModelNotReady: it is not trained, or was deleted.
        NoSuchModel, Busy: as `rows.lock`.
    """
    model = rows.lock(model)
    version = rows.own(model, version)
    if not version.is_ready:
        raise ModelNotReady(f"Version {version.number} cannot be drawn with: it is not trained, or was deleted.")
    if model.current_id != version.pk:
        model.current = version
        drafts.save(model, "current")
        _record(model, actor, "model.promoted", version=version.number)
    return model


@transaction.atomic
def delete_version(model: CustomModel, version: ModelVersion, *, actor: User | str) -> CustomModel:
    """Delete a version's files for good; its row stays as history. Again changes nothing.

    If it was the current one, the newest other one is, or none.

    Raises:
        VersionInUse: it is being trained, a training starts from it, or pictures are being made with it.
        NoSuchModel, Busy: as `rows.lock`.
    """
    model = rows.lock(model)
    with rows.waiting():  # not NO KEY: nobody orders pictures with it between this look and the end
        version = ModelVersion.objects.select_for_update(of=("self",)).select_related("job").get(pk=version.pk)
    assert version.model_id == model.pk
    if version.deleted_at:
        return model
    _refuse_in_use([version])
    _discard([version])
    if model.current_id == version.pk:
        model.current = queries.ready_versions(model).first()
        drafts.save(model, "current")
    _record(model, actor, "model.version_deleted", version=version.number)
    return model


def delete_model(model: CustomModel, *, actor: User | str) -> None:
    """Delete a model or a draft with its pictures and versions, and their files once that is committed.

    An open training is canceled, and its credits come back. Pictures that were made with it stay, and so do all jobs.

    Raises:
        VersionInUse: pictures are being made with it.
        NoSuchModel, Busy: as `rows.lock`.
    """
    with transaction.atomic():
        with rows.waiting():  # first, as a training that ends: it holds its job and then wants the model
            jobs = Job.objects.select_for_update(no_key=True).filter(trained_version__model=model)
            training = jobs.filter(status__in=transitions.OPEN).first()
        model = rows.lock(model)
        running = queries.open_training(model)
        if running and (training is None or running.job_id != training.pk):
            raise Busy("A training of this model began this moment. Try again.")
        versions = list(model.versions.select_for_update(of=("self",)).filter(deleted_at=None))
        _refuse_drawing(versions)
        if training:
            services.close_job(training, actor=actor)
            job_id = training.pk
            transaction.on_commit(lambda: services.tell_canceled(job_id), robust=True)
        _discard(versions)
        pictures = list(model.pictures.values_list("key", "thumbnail_key"))
        model.pictures.all().delete()
        transaction.on_commit(storage.with_clean_up(key for pair in pictures for key in pair), robust=True)
        if model.is_draft:
            model.delete()
            return
        model.current, model.deleted_at = None, Now()
        drafts.save(model, "current", "deleted_at")
        _record(model, actor, "model.deleted")


def _refuse_in_use(versions: list[ModelVersion]) -> None:
    for version in versions:
        if not version.job.is_over:
            raise VersionInUse(f"Version {version.number} is being trained. Cancel that first.")
        if version.children.filter(job__status__in=transitions.OPEN).exists():
            raise VersionInUse(f"A training starts from version {version.number}. Wait for it, or cancel it.")
    _refuse_drawing(versions)


def _refuse_drawing(versions: list[ModelVersion]) -> None:
    drawing = Job.objects.filter(model_version__in=versions, status__in=transitions.OPEN).count()
    if drawing:
        raise VersionInUse(f"Pictures are being made with it ({drawing}). Wait for them, or cancel them.")


def _discard(versions: list[ModelVersion]) -> None:
    """Mark versions as deleted; nothing names their files any more, which go after the commit."""
    keys = [key for version in versions for key in files_of(version)]
    ModelVersion.objects.filter(pk__in=[version.pk for version in versions]).update(
        deleted_at=Now(), adapter_key="", adapter_sha256="", adapter_bytes=0, checkpoint_key="",
        checkpoint_sha256="", samples=[],
    )  # fmt: skip
    transaction.on_commit(storage.with_clean_up(keys), robust=True)


def files_of(version: ModelVersion) -> list[str]:
    keys = [version.adapter_key, version.checkpoint_key, *(sample["key"] for sample in version.samples)]
    return [key for key in keys if key]


def _record(model: CustomModel, actor: User | str, verb: str, **details: object) -> None:
    activity.record(team=model.team, actor=actor, verb=verb, target=model.name, model=str(model.pk), **details)
