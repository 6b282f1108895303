"""What is for sale, and for how much: rows that staff change. Stripe's ids stand here and nowhere in code."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from credits.models.passes import PassProduct
from credits.models.plans import Plan


class PlanPrice(models.Model):
    """What a plan costs a month or a year, and which price at Stripe that is.

    A price that is no longer offered stays: those who pay it keep their plan by it.
    """

    class Interval(models.TextChoices):
        MONTH = "month", "a month"
        YEAR = "year", "a year"

    plan = models.ForeignKey(Plan, models.PROTECT, related_name="prices")
    interval = models.CharField(max_length=5, choices=Interval.choices)
    price_cents = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="In hundredths of the currency: paise, cents."
    )
    currency = models.CharField(max_length=3, default="INR")
    stripe_price_id = models.CharField(max_length=80, blank=True, help_text="Empty: not for sale yet.")
    is_active = models.BooleanField(default=True, help_text="Whether it is offered.")
    trial_days = models.PositiveSmallIntegerField(default=0, help_text="Free days for a team's first subscription.")
    trial_centi = models.BigIntegerField(default=0, help_text="Hundredths of a credit for those days.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["plan", "interval", "-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["stripe_price_id"], condition=~Q(stripe_price_id=""), name="plan_price_once_at_stripe"
            ),
            models.UniqueConstraint(
                fields=["plan", "interval"], condition=Q(is_active=True), name="plan_price_offered_once_per_interval"
            ),
            models.CheckConstraint(condition=Q(price_cents__gt=0), name="plan_price_is_something"),
            models.CheckConstraint(condition=Q(trial_centi__gte=0), name="plan_price_trial_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.plan}, {self.get_interval_display()}"


class Pack(models.Model):
    """Credits to buy once."""

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=0)
    is_active = models.BooleanField(default=True)
    credit_centi = models.BigIntegerField(help_text="Hundredths of a credit.")
    price_cents = models.PositiveIntegerField(help_text="In hundredths of the currency: paise, cents.")
    currency = models.CharField(max_length=3, default="INR")
    days = models.PositiveSmallIntegerField(null=True, blank=True, help_text="How long they last. Empty: for ever.")
    stripe_price_id = models.CharField(max_length=80, blank=True, help_text="Empty: sold at the price above.")

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            models.CheckConstraint(condition=Q(credit_centi__gt=0, price_cents__gt=0), name="pack_sells_something")
        ]

    def __str__(self) -> str:
        return self.name


class PassPrice(models.Model):
    """The price at Stripe of an hourly pass. A pass without one is sold at the price of its own row."""

    product = models.OneToOneField(PassProduct, models.PROTECT, related_name="stripe_price")
    stripe_price_id = models.CharField(max_length=80, unique=True)

    def __str__(self) -> str:
        return f"{self.product}: {self.stripe_price_id}"
