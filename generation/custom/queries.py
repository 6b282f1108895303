"""What is read about models of one's own. Everything goes through the team; nothing here writes."""

from uuid import UUID

from django.conf import settings
from django.db.models import Avg, Count, F, FloatField, OuterRef, Prefetch, QuerySet, Subquery, Sum
from django.db.models.functions import Cast, Coalesce

from accounts.models import Team, User
from generation import looks
from generation.models import CustomModel, Job, ModelVersion, TrainingImage
from generation.training_limits import steps_for
from tenkaigen.paging import Page, page

USABLE_MAX = 200  # in a picker
ESTIMATED_FROM = 20  # newest trainings on the same base model
OPEN = (Job.Status.QUEUED, Job.Status.PROCESSING)


def models_of(team: Team) -> QuerySet[CustomModel]:
    """A team's models and drafts, each with `pictures_count`, `cover_key` and its newest version's `status`.

    `cover_key` is the thumbnail of the first picture, `status` that of the newest training; both None without one.
    """
    pictures = TrainingImage.objects.filter(model=OuterRef("pk"))
    counted = pictures.order_by().values("model").annotate(number=Count("pk")).values("number")
    newest = ModelVersion.objects.filter(model=OuterRef("pk")).order_by("-number")
    return (
        CustomModel.objects.filter(team=team, deleted_at=None)
        .select_related("reference", "current", "user")
        .annotate(
            pictures_count=Coalesce(Subquery(counted), 0),
            cover_key=Subquery(pictures.order_by("position").values("thumbnail_key")[:1]),
            status=Subquery(newest.values("job__status")[:1]),
        )
    )


def models_page(team: Team, cursor: str | None, size: int = settings.GALLERY_PAGE) -> Page[CustomModel]:
    """Newest first, drafts among them. Raises: BadCursor."""
    return page(models_of(team), cursor, size)


def model_of(team: Team, model_id: UUID) -> CustomModel | None:
    return models_of(team).filter(id=model_id).first()


def draft_of(team: Team, user: User) -> CustomModel | None:
    """The newest draft that somebody began in a team and has not trained."""
    return models_of(team).filter(user=user, submitted_at=None).order_by("-created_at", "-id").first()


def versions_of(model: CustomModel) -> QuerySet[ModelVersion]:
    """Every version with its job, the newest first; deleted ones too, they are the history."""
    return model.versions.select_related("job", "parent").order_by("-number")


def versions_page(model: CustomModel, cursor: str | None, size: int) -> Page[ModelVersion]:
    """As `versions_of`, a page at a time. Raises: BadCursor."""
    return page(versions_of(model), cursor, size)


def version_of(model: CustomModel, number: int) -> ModelVersion | None:
    return versions_of(model).filter(number=number).first()


def pictures_of(model: CustomModel) -> QuerySet[TrainingImage]:
    return model.pictures.order_by("position", "created_at", "id")


def picture_of(model: CustomModel, picture_id: UUID) -> TrainingImage | None:
    return model.pictures.filter(id=picture_id).first()


def ready_versions(model: CustomModel) -> QuerySet[ModelVersion]:
    """Those that can be drawn with, the newest first."""
    return model.versions.filter(deleted_at=None).exclude(adapter_key="").order_by("-number")


def open_training(model: CustomModel) -> ModelVersion | None:
    """The version that is queued or being trained, with its job."""
    return versions_of(model).filter(job__status__in=OPEN).first()


def refinements_of(model: CustomModel) -> int:
    """How many refinements there were so far; those that failed or were canceled cost nothing and do not count."""
    return model.versions.filter(iteration__gt=0, job__status=Job.Status.COMPLETED).count()


def usable(team: Team) -> list[CustomModel]:
    """The models one can draw with, newest first, each with its reference, current version and ready ones."""
    ready = ModelVersion.objects.filter(deleted_at=None).exclude(adapter_key="").order_by("-number")
    rows = CustomModel.objects.filter(team=team, deleted_at=None, current__isnull=False)
    rows = rows.select_related("reference", "current").order_by("-created_at", "-id")
    ready = ready.defer("losses", "samples", "settings")
    return list(rows.prefetch_related(Prefetch("versions", ready, to_attr="ready"))[:USABLE_MAX])


def storage_of(team: Team) -> int:
    """Bytes of a team's training pictures and trained versions."""
    pictures = TrainingImage.objects.filter(team=team).aggregate(bytes=Sum("size_bytes"))["bytes"]
    versions = ModelVersion.objects.filter(model__team=team, deleted_at=None).aggregate(bytes=Sum("adapter_bytes"))
    return (pictures or 0) + (versions["bytes"] or 0)


def estimate_seconds(model: CustomModel) -> int | None:
    """How long the next training of this model would take once it begins, by the last ones here; None before any."""
    asked = None if model.current_id else model.train_steps  # the steps of the creation are not those of a refinement
    steps = asked or steps_for(model.pictures.count())
    done = Job.objects.filter(
        model=base_model_of(model), kind__in=(Job.Kind.CREATION, Job.Kind.REFINEMENT), status=Job.Status.COMPLETED
    )
    newest = done.exclude(processing_ms=None).order_by("-finished_at")[:ESTIMATED_FROM]
    each = Cast(F("processing_ms"), FloatField()) / F("num_inference_steps")
    # By number and not by a join: the newest few are picked first.
    ms = Job.objects.filter(pk__in=list(newest.values_list("pk", flat=True))).aggregate(ms=Avg(each))["ms"]
    return None if ms is None else max(1, round(steps * ms / 1000))


def base_model_of(model: CustomModel) -> str:
    """The base model that a training of this model would use: fixed by its first one."""
    return model.base_model or looks.base_of(model.reference)
