"""The activity log: who did what in a team, and when."""

import uuid
from typing import Any

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from accounts.models.people import User
from accounts.models.teams import Team


class Activity(models.Model):
    """One act. Written once by `accounts.activity.record`; only time and a deleted person's name change it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="activities")
    actor_user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    actor = models.CharField(max_length=120, help_text="An e-mail address, `key NAME`, `staff:...` or `system`.")
    topic = models.CharField(max_length=16, help_text="What comes before the dot of the verb; pages filter by it.")
    verb = models.CharField(max_length=40)
    target = models.CharField(max_length=200, blank=True)
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "activities"
        indexes = [
            models.Index(fields=["team", "-created_at", "-id"], name="activity_list"),
            models.Index(fields=["team", "topic", "-created_at", "-id"], name="activity_by_topic"),
            BrinIndex(fields=["created_at"], name="activity_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.target}".strip()

    def save(self, **options: Any) -> None:
        assert self._state.adding, "what has happened does not change"
        super().save(**options)
