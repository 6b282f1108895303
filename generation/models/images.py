"""The pictures a job leaves."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Team
from generation.models.jobs import Job


class Image(models.Model):
    """A picture that was delivered. The row holds the key of its file; no file is shown without a row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.ForeignKey(Job, models.PROTECT, related_name="images")
    team = models.ForeignKey(Team, models.PROTECT, related_name="images")
    index = models.PositiveSmallIntegerField()
    seed = models.BigIntegerField()
    key = models.CharField(max_length=300, unique=True)
    preview_key = models.CharField(max_length=300)
    thumbnail_key = models.CharField(max_length=300)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "index"], name="image_once_per_job_and_index"),
            models.CheckConstraint(condition=Q(size_bytes__gt=0), name="image_has_content"),
        ]
        indexes = [
            models.Index(fields=["team", "-created_at", "-id"], name="image_gallery"),
            models.Index(fields=["expires_at"], name="image_expiry"),
        ]

    def __str__(self) -> str:
        return self.key
