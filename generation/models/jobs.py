"""The job: one row is one place in the queue. Its status changes only in `transitions`."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import ApiKey, Team, User
from generation.params import COUNT_MAX


class Job(models.Model):
    """One request and what became of it."""

    class Kind(models.TextChoices):
        IMAGE = "image", "image generation"
        CREATION = "creation", "model creation"
        REFINEMENT = "refinement", "model refinement"

    class Status(models.TextChoices):
        QUEUED = "queued"
        PROCESSING = "processing"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELED = "canceled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, models.PROTECT, related_name="jobs")
    user = models.ForeignKey(User, models.PROTECT, related_name="jobs")
    api_key = models.ForeignKey(
        ApiKey,
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="+",
        help_text="The key it was submitted with; empty: by a person on a page.",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.IMAGE)
    request_key = models.CharField(max_length=80)
    request_fingerprint = models.CharField(max_length=64)

    prompt = models.TextField()
    expanded_prompt = models.TextField()
    negative_prompt = models.TextField(blank=True)
    expander = models.CharField(max_length=12, blank=True, help_text="Who expanded the prompt; empty: nobody.")
    style = models.CharField(max_length=40, blank=True)
    franchise = models.CharField(max_length=60, blank=True)
    product = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=60)
    model_revision = models.CharField(max_length=64, blank=True)
    reference_model = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="The look it was drawn with."
    )
    model_version = models.ForeignKey(
        "ModelVersion",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="drawn_jobs",
        help_text="Of a model of the team's own: what it was drawn with.",
    )
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    quality = models.CharField(max_length=10)
    count = models.PositiveSmallIntegerField()
    seed = models.BigIntegerField()
    num_inference_steps = models.PositiveSmallIntegerField()
    guidance_scale = models.FloatField()

    plan = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="The team's plan when it was submitted."
    )
    quote = models.JSONField()
    charged_centi = models.BigIntegerField(default=0)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    run_after = models.DateTimeField(db_default=Now(), help_text="The order among the jobs of one team.")
    batch_key = models.CharField(max_length=200, blank=True, help_text="Equal keys may share a run; empty: alone.")
    batch_max = models.PositiveSmallIntegerField(
        null=True, help_text="Images that may share its run: it ran out of memory with more."
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=120, blank=True)
    failure = models.CharField(max_length=300, blank=True, help_text="What happened, in words for the person.")
    failure_code = models.CharField(max_length=40, blank=True)
    is_quarantined = models.BooleanField("needs a look", default=False, help_text="It failed and nobody knows why.")
    metadata = models.JSONField(default=dict, blank=True)

    created_at = models.DateTimeField(db_default=Now(), editable=False)
    claimed_at = models.DateTimeField(null=True)
    device_done_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    device_ms = models.PositiveIntegerField(null=True)
    processing_ms = models.PositiveIntegerField(null=True)
    stored_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "request_key"], name="job_once_per_team_and_request_key"),
            models.CheckConstraint(
                name="job_leased_only_while_processing",
                condition=Q(status="processing", lease_until__isnull=False)
                | (~Q(status="processing") & Q(lease_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_has_an_end_when_it_is_over",
                condition=Q(status__in=["queued", "processing"], finished_at__isnull=True)
                | Q(status__in=["completed", "failed", "canceled"], finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="job_charges_only_when_completed",
                condition=Q(charged_centi=0) | Q(status="completed", charged_centi__gt=0),
            ),
            models.CheckConstraint(
                name="job_quarantined_only_when_failed", condition=Q(is_quarantined=False) | Q(status="failed")
            ),
            models.CheckConstraint(condition=Q(count__gte=1, count__lte=COUNT_MAX), name="job_asks_for_some_images"),
            models.CheckConstraint(condition=Q(fence__gte=F("attempts")), name="job_fence_rises_with_every_attempt"),
        ]
        indexes = [
            # What a team has waiting, in its order: for a model, for a batch, and for any.
            models.Index(fields=["team", "model", "run_after"], condition=Q(status="queued"), name="job_queue"),
            models.Index(fields=["team", "batch_key", "run_after"], condition=Q(status="queued"), name="job_mates"),
            models.Index(
                fields=["team", "kind", "run_after"],
                include=["count"],
                condition=Q(status="queued"),
                name="job_line",
            ),
            models.Index(fields=["team", "kind"], condition=Q(status="processing"), name="job_running"),
            models.Index(fields=["lease_until"], condition=Q(status="processing"), name="job_leases"),
            models.Index(fields=["team", "-created_at", "-id"], name="job_list"),
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="job_finished"),
            # The last trainings on a base model, however many pictures were made since.
            models.Index(
                fields=["model", "-finished_at"],
                condition=Q(kind__in=["creation", "refinement"], status="completed"),
                name="job_trainings",
            ),
            models.Index(
                fields=["model_version", "-created_at"],
                condition=Q(model_version__isnull=False),
                name="job_by_model_version",
            ),
            # What the jobs of a key cost in a month.
            models.Index(
                fields=["api_key", "created_at"],
                include=["charged_centi"],
                condition=Q(api_key__isnull=False),
                name="job_by_key",
            ),
            models.Index(fields=["-finished_at"], condition=Q(is_quarantined=True), name="job_quarantine"),
            models.Index(
                fields=["team"], condition=Q(status__in=["queued", "processing"]), name="job_unfinished_per_team"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.id}"

    @property
    def is_over(self) -> bool:
        return self.status not in (self.Status.QUEUED, self.Status.PROCESSING)

    @property
    def expansion_note(self) -> str:
        """Why the prompt was expanded by us although Gemini was asked; mostly empty."""
        return str(self.metadata.get("expansion_note", ""))

    @property
    def quoted_centi(self) -> int:
        return int(self.quote["unit_centi"]) * int(self.quote["count"])
