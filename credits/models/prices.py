"""Prices, in versions. A version is a draft until it is published; from the moment it counts the database lets nobody
change it.
"""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class PriceVersion(models.Model):
    """One whole price list. The one in force is the newest whose `effective_at` has come."""

    name = models.CharField(max_length=40, unique=True, help_text="Shown on receipts, for example 2026-11.")
    note = models.CharField(max_length=200, blank=True)
    effective_at = models.DateTimeField(null=True, editable=False, help_text="Empty: a draft.")
    published_by = models.CharField(max_length=120, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["effective_at"], name="price_version_alone_at_its_moment")]

    def __str__(self) -> str:
        return self.name


class PriceRule(models.Model):
    """One number of a price list: `image.resolution up to 512` is `1.0`, `image.base` is `5`.

    `option` names a choice (`hd`); `up_to` bounds a band (pixels), and the band without it takes everything above.
    """

    version = models.ForeignKey(PriceVersion, models.CASCADE, related_name="rules")
    name = models.CharField(max_length=40, help_text="What it is: image.base, image.quality, refinement.cap.")
    option = models.CharField(max_length=40, blank=True)
    up_to = models.PositiveIntegerField(null=True, blank=True)
    value = models.DecimalField(max_digits=12, decimal_places=4, validators=[MinValueValidator(0)])

    class Meta:
        ordering = ["name", "option", "up_to"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "name", "option", "up_to"],
                nulls_distinct=False,
                name="price_rule_says_each_thing_once",
            ),
            models.CheckConstraint(condition=Q(value__gte=0), name="price_rule_is_not_negative"),
        ]

    def __str__(self) -> str:
        band = f" up to {self.up_to}" if self.up_to else ""
        return f"{self.name}{' ' if self.option else ''}{self.option}{band}: {self.value}"
