"""The keys of programs."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models.people import User
from accounts.models.teams import Team


class Scope(models.TextChoices):
    """What a key may be used for."""

    READ = "read"
    GENERATE = "generate"
    TRAIN = "train"
    BILLING = "billing"


def default_scopes() -> list[str]:
    return [Scope.READ, Scope.GENERATE]


class ApiKey(models.Model):
    """A program's key to one team. Only the hash is kept; the key itself is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="api_keys")
    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys", help_text="Who made it, and acts by it.")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    scopes = ArrayField(models.CharField(max_length=8, choices=Scope.choices), default=default_scopes)
    expires_at = models.DateTimeField(null=True, blank=True)
    monthly_cap_centi = models.BigIntegerField(
        null=True, blank=True, help_text="Hundredths of a credit that its jobs may cost in a calendar month (UTC)."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["team", "-created_at"], name="api_key_list")]
        constraints = [
            models.CheckConstraint(condition=Q(monthly_cap_centi__gt=0), name="api_key_cap_is_something"),
            models.CheckConstraint(condition=Q(scopes__len__gt=0), name="api_key_has_a_scope"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
