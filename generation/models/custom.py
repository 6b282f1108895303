"""Models of one's own: what a team trains from its pictures, and the versions that came of it.

Nothing here says whether a training runs, has failed or is done: that is the status of the version's job.
"""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Team, User
from generation.models.catalogue import ReferenceModel
from generation.models.jobs import Job


class CustomModel(models.Model):
    """A subject or a look that a team teaches. A draft until its first training is submitted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, models.PROTECT, related_name="custom_models")
    user = models.ForeignKey(User, models.PROTECT, related_name="custom_models", help_text="Who began it.")
    reference = models.ForeignKey(ReferenceModel, models.PROTECT, null=True, blank=True, related_name="custom_models")
    name = models.CharField(max_length=60, blank=True)
    description = models.CharField(max_length=300, blank=True)
    trigger_word = models.CharField(max_length=30, blank=True)
    base_model = models.CharField(max_length=60, blank=True, help_text="Of the catalogue; fixed at the first training.")
    train_steps = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: what suits the pictures.")
    train_text_encoder = models.BooleanField(default=False)
    has_consent = models.BooleanField(default=False, help_text="The people in the pictures agreed.")
    current = models.ForeignKey(
        "ModelVersion", models.SET_NULL, null=True, blank=True, related_name="+", help_text="The one people draw with."
    )
    submitted_at = models.DateTimeField(null=True, blank=True, help_text="Of the first training; empty: a draft.")
    deleted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "trigger_word"],
                condition=Q(deleted_at=None) & ~Q(trigger_word=""),
                name="custom_model_trigger_word_once_per_team",
            ),
            models.CheckConstraint(
                name="custom_model_is_complete_when_submitted",
                condition=Q(submitted_at=None)
                | (~Q(name="") & ~Q(trigger_word="") & ~Q(base_model="") & Q(reference__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-created_at", "-id"], condition=Q(deleted_at=None), name="custom_model_list"),
            models.Index(fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="custom_model_deleted"),
        ]

    def __str__(self) -> str:
        return self.name or "draft"

    @property
    def is_draft(self) -> bool:
        return self.submitted_at is None


class ModelVersion(models.Model):
    """One training of a model. It can be drawn with once its adapter is there."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(CustomModel, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(help_text="1 is the creation.")
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    iteration = models.PositiveIntegerField(help_text="0: the creation; the first refinement is 1.")
    job = models.OneToOneField(Job, models.PROTECT, related_name="trained_version")
    settings = models.JSONField(help_text="Steps, rank, learning rate, side and seed of the training.")
    images_count = models.PositiveIntegerField()

    steps_done = models.PositiveIntegerField(default=0, help_text="At the newest checkpoint.")
    checkpoint_key = models.CharField(max_length=300, blank=True)
    checkpoint_sha256 = models.CharField(max_length=64, blank=True)
    losses = models.JSONField(default=list, help_text="[step, mean loss since the last point], rising.")
    samples = models.JSONField(default=list, help_text="Pictures of fixed prompts: step, prompt, seed, key.")

    adapter_key = models.CharField(max_length=300, blank=True)
    adapter_sha256 = models.CharField(max_length=64, blank=True)
    adapter_bytes = models.PositiveBigIntegerField(default=0)
    base_revision = models.CharField(max_length=64, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="Its files are gone; the row keeps the history.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="version_number_once_per_model"),
            models.CheckConstraint(
                name="version_adapter_has_a_hash",
                condition=Q(adapter_key="", adapter_sha256="", adapter_bytes=0)
                | (~Q(adapter_key="") & ~Q(adapter_sha256="") & Q(adapter_bytes__gt=0)),
            ),
            models.CheckConstraint(
                name="version_refines_a_parent",
                condition=Q(iteration=0, parent=None) | Q(iteration__gt=0, parent__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"

    @property
    def is_ready(self) -> bool:
        return bool(self.adapter_key) and self.deleted_at is None


class TrainingImage(models.Model):
    """A picture that a model learns from: decoded and encoded anew by us, under a name of ours."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(CustomModel, models.PROTECT, related_name="pictures")
    team = models.ForeignKey(Team, models.PROTECT, related_name="training_images")
    position = models.PositiveIntegerField(help_text="The order in which they came.")
    key = models.CharField(max_length=300, unique=True)
    thumbnail_key = models.CharField(max_length=300)
    sha256 = models.CharField(max_length=64, help_text="Of our file.")
    likeness = models.BigIntegerField(help_text="64 bits that differ in few places between pictures that look alike.")
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    caption = models.CharField(max_length=300, blank=True)
    like = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "sha256"], name="training_image_once_per_model"),
            models.CheckConstraint(condition=Q(size_bytes__gt=0), name="training_image_has_content"),
        ]
        indexes = [
            models.Index(fields=["model", "position"], name="training_image_order"),
            models.Index(fields=["team"], include=["size_bytes"], name="training_image_storage"),
        ]

    def __str__(self) -> str:
        return self.key
