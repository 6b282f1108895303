"""What a team may do and gets every month, as rows that staff change."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import Team


class Plan(models.Model):
    """A plan. A team without a subscription has the one that is marked as the default."""

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=60)
    description = models.CharField(max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(default=0)
    is_active = models.BooleanField(default=True, help_text="Whether new teams may choose it.")
    is_default = models.BooleanField(default=False, help_text="The plan of a team without a subscription.")
    monthly_centi = models.BigIntegerField(default=0, help_text="Hundredths of a credit granted every month.")
    concurrent_jobs = models.PositiveSmallIntegerField(
        default=0, help_text="Jobs at a time. 0: one at a time, while bonus, bought or pass credits last."
    )
    queue_priority = models.SmallIntegerField(default=0, help_text="Higher starts sooner.")
    queue_cap = models.PositiveIntegerField(
        default=20, validators=[MinValueValidator(1)], help_text="Unfinished jobs at a time."
    )
    requests_per_hour = models.PositiveIntegerField(default=30, validators=[MinValueValidator(1)])
    seconds_between = models.FloatField(
        default=2.0, validators=[MinValueValidator(0)], help_text="Least seconds between two requests."
    )
    models_max = models.PositiveIntegerField(default=1, help_text="Models of the team's own; 0: none.")
    training_images_max = models.PositiveSmallIntegerField(default=40, help_text="Pictures that one model learns from.")
    model_storage_bytes = models.BigIntegerField(
        default=10**9, validators=[MinValueValidator(0)], help_text="For training pictures and trained versions."
    )

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="plan_default_is_one"),
            models.CheckConstraint(condition=Q(monthly_centi__gte=0), name="plan_grants_nothing_negative"),
            models.CheckConstraint(
                condition=Q(queue_cap__gte=1, requests_per_hour__gte=1, seconds_between__gte=0),
                name="plan_lets_something_through",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """A team's plan, and the moment its months are counted from.

    Written by `credits.plans`, for staff now and for the payment provider's events later.
    """

    team = models.OneToOneField(Team, models.PROTECT, related_name="subscription")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="subscriptions")
    anchor_at = models.DateTimeField(db_default=Now(), help_text="Period k begins k months after this.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="No period begins at or after this.")
    grants_monthly = models.BooleanField(
        default=True, help_text="Whether our own calendar grants the credits. False: paid invoices do."
    )
    external_ref = models.CharField(max_length=80, blank=True, help_text="The payment provider's id of it.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["external_ref"], condition=~Q(external_ref=""), name="subscription_once_per_external_reference"
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gte=F("anchor_at")), name="subscription_ends_after_it_begins"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_id} of {self.team_id}"
