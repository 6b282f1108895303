"""What of people's models does not stay: checkpoints of ended trainings, drafts nobody went on with, whole teams."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Team
from generation import storage, transitions
from generation.custom import services
from generation.models import CustomModel, ModelVersion, TrainingImage
from tenkaigen.errors import DomainError

logger = structlog.get_logger(__name__)
BATCH_MAX = 200  # of each, an hour


def forget_checkpoints() -> int:
    """Delete the checkpoints of trainings that failed or were canceled: nobody goes on from them. How many."""
    over = ModelVersion.objects.exclude(job__status__in=transitions.OPEN).exclude(checkpoint_key="")
    keys = dict(over.values_list("pk", "checkpoint_key")[:BATCH_MAX])
    ModelVersion.objects.filter(pk__in=keys).update(checkpoint_key="", checkpoint_sha256="", steps_done=0)
    storage.delete(keys.values())
    return len(keys)


def forget_drafts() -> int:
    """Delete models that nobody trained and nobody touched for `DRAFT_DAYS`, and the rows of deleted ones. How many."""
    long_ago = Now() - timedelta(days=settings.DRAFT_DAYS)
    drafts = CustomModel.objects.filter(submitted_at=None, updated_at__lt=long_ago)
    forgotten = 0
    for draft in drafts.filter(deleted_at=None).exclude(pictures__created_at__gte=long_ago)[:BATCH_MAX]:
        try:
            services.delete_model(draft, actor="system")
            forgotten += 1
        except DomainError as error:  # somebody works on it just now
            logger.info("draft_not_forgotten", model=str(draft.pk), reason=error.code)
    gone = drafts.filter(deleted_at__isnull=False, versions=None, pictures=None)
    CustomModel.objects.filter(pk__in=list(gone.values_list("pk", flat=True)[:BATCH_MAX])).delete()
    return forgotten


def erase(team: Team) -> None:
    """Delete every model of a team for good, with its versions, pictures and files. Its jobs stay, as receipts."""
    with transaction.atomic():
        pictures = TrainingImage.objects.filter(team=team)
        keys = [key for pair in pictures.values_list("key", "thumbnail_key") for key in pair]
        pictures.delete()
        for version in ModelVersion.objects.filter(model__team=team).order_by("model", "-number"):  # children first
            keys += services.files_of(version)
            version.delete()
        CustomModel.objects.filter(team=team).delete()
        transaction.on_commit(storage.with_clean_up(keys), robust=True)
