"""Hourly passes: what is sold, and what a team has of it."""

import uuid

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Team
from credits.models.ledger import Grant


class PassProduct(models.Model):
    """A pass as it is sold. Changing it changes what is issued from now on, never what somebody has."""

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=0)
    is_active = models.BooleanField(default=True)
    price_cents = models.PositiveIntegerField(help_text="In hundredths of the currency: paise, cents.")
    currency = models.CharField(max_length=3, default="INR")
    images = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])
    videos = models.PositiveSmallIntegerField(default=0, help_text="Counted from the day videos can be made.")
    minutes = models.PositiveSmallIntegerField(default=60, validators=[MinValueValidator(1)])
    side_px_max = models.PositiveIntegerField(default=512, help_text="Longest side of a picture that it covers.")

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            models.CheckConstraint(condition=Q(images__gte=1, minutes__gte=1), name="pass_product_sells_something")
        ]

    def __str__(self) -> str:
        return self.name


class Pass(models.Model):
    """One pass of one team. It waits until somebody starts it; from then on its grant counts images and minutes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, models.PROTECT, related_name="passes")
    product = models.ForeignKey(PassProduct, models.PROTECT, related_name="passes")
    reference = models.CharField(max_length=120, unique=True, help_text="The sale or the act it was issued for.")
    name = models.CharField(max_length=60)
    images = models.PositiveSmallIntegerField()
    videos = models.PositiveSmallIntegerField(default=0)
    minutes = models.PositiveSmallIntegerField()
    side_px_max = models.PositiveIntegerField()
    issued_by = models.CharField(max_length=120)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    grant = models.OneToOneField(Grant, models.PROTECT, null=True, editable=False, related_name="of_pass")
    withdrawn_at = models.DateTimeField(null=True, editable=False, help_text="It was refunded, and cannot be started.")

    class Meta:
        verbose_name_plural = "passes"
        indexes = [models.Index(fields=["team", "-created_at"], name="pass_list")]

    def __str__(self) -> str:
        return f"{self.name} of {self.team_id}"
