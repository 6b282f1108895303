"""The processes that draw, as they last said of themselves, and what was measured on their kind of device."""

from django.db import models
from django.db.models.functions import Now


class Node(models.Model):
    """One GPU worker: a process with one device. It writes its row itself; a row without news is a dead process."""

    class State(models.TextChoices):
        LOADING = "loading"
        IDLE = "idle"
        BUSY = "busy"
        STOPPED = "stopped"

    name = models.CharField(max_length=120, primary_key=True, help_text="Host, device and process, as jobs name it.")
    host = models.CharField(max_length=80)
    device = models.CharField(max_length=16)
    hardware = models.CharField(max_length=120, blank=True)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.LOADING)
    serves = models.JSONField(default=list, help_text="The models it takes jobs for.")
    kinds = models.JSONField(default=list, db_default=[], help_text="The kinds of job it takes.")
    resident = models.JSONField(default=list, help_text="What it holds now, with bytes.")
    job_ids = models.JSONField(default=list, help_text="What it draws now.")
    jobs_done = models.PositiveIntegerField(default=0)
    jobs_per_minute = models.FloatField(default=0, help_text="Over its last minutes.")
    idle_share = models.FloatField(default=1, help_text="Of its last minutes, 0 to 1.")
    loads = models.PositiveIntegerField(default=0)
    swaps = models.PositiveIntegerField(default=0, help_text="Loads that had to make another model leave.")
    started_at = models.DateTimeField(db_default=Now())
    last_heartbeat_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="node_idle_share_is_a_share", condition=models.Q(idle_share__gte=0, idle_share__lte=1)
            )
        ]
        indexes = [models.Index(fields=["last_heartbeat_at"], name="node_heartbeats")]

    def __str__(self) -> str:
        return self.name


class BatchProfile(models.Model):
    """How many pictures of a size are worth one run of a model, as it was measured on one kind of hardware."""

    hardware = models.CharField(max_length=120)
    model = models.CharField(max_length=60)
    revision = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    images_max = models.PositiveSmallIntegerField()
    milliseconds = models.JSONField(default=dict, help_text="What a run took, by its number of pictures.")
    measured_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hardware", "model", "revision", "width", "height"], name="batch_profile_once_per_size"
            ),
            models.CheckConstraint(condition=models.Q(images_max__gte=1), name="batch_profile_allows_a_picture"),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.width}x{self.height} on {self.hardware}: {self.images_max}"
