"""What we know of Stripe: whose customer is whose, what was sold and paid, what it told us.

`credits.billing` is the only writer. The mirror that dj-stripe keeps is for looking; money follows these rows.
"""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import Team, User


class StripeCustomer(models.Model):
    """A team at Stripe. Ours, because dj-stripe forgets its own link when a customer is deleted there."""

    team = models.ForeignKey(Team, models.PROTECT, related_name="stripe_customers")
    customer_id = models.CharField(max_length=80, unique=True)
    livemode = models.BooleanField()
    followed = models.BigIntegerField(default=0, editable=False, help_text="Counts the times its plan was written.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    gone_at = models.DateTimeField(null=True, editable=False, help_text="When Stripe no longer knew it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "livemode"], condition=Q(gone_at=None), name="stripe_customer_once_per_team"
            )
        ]

    def __str__(self) -> str:
        return self.customer_id


class Purchase(models.Model):
    """One visit to the checkout, with what was offered then. Its credits come from here, never from an amount paid."""

    class Kind(models.TextChoices):
        PLAN = "plan"
        PACK = "pack"
        PASS = "pass"  # noqa: S105

    class State(models.TextChoices):
        OPEN = "open"
        PAID = "paid"  # Stripe says so, and it was delivered
        EXPIRED = "expired"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, models.PROTECT, related_name="purchases")
    user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=4, choices=Kind.choices)
    slug = models.CharField(max_length=40, help_text="Of the plan, pack or pass.")
    name = models.CharField(max_length=80)
    interval = models.CharField(max_length=5, blank=True)
    price_cents = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    credit_centi = models.BigIntegerField(default=0, help_text="Of a pack.")
    days = models.PositiveSmallIntegerField(null=True, help_text="How long the credits of a pack last.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.OPEN)
    session_id = models.CharField(max_length=120, null=True, unique=True)
    payment_intent = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    paid_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team"], condition=Q(kind="plan", state="open"), name="purchase_of_one_plan_at_a_time"
            )
        ]
        indexes = [
            models.Index(fields=["team", "-created_at", "-id"], name="purchase_list"),
            models.Index(fields=["payment_intent"], condition=~Q(payment_intent=""), name="purchase_of_payment"),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.team_id}"


class Payment(models.Model):
    """Money that came, by Stripe's payment intent. Its row is the lock of everything that takes credits back for it."""

    payment_intent = models.CharField(max_length=80, primary_key=True)
    team = models.ForeignKey(Team, models.PROTECT, related_name="payments")
    invoice_id = models.CharField(max_length=80, blank=True)
    amount_cents = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)
    refunded_cents = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_cents__gt=0, refunded_cents__lte=F("amount_cents")),
                name="payment_gives_back_no_more_than_it_got",
            )
        ]
        indexes = [models.Index(fields=["team", "-created_at"], name="payment_list")]

    def __str__(self) -> str:
        return self.payment_intent


class Refund(models.Model):
    """Money on its way back. It may fail, also after days, and then for good."""

    refund_id = models.CharField(max_length=80, primary_key=True)
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="refunds")
    amount_cents = models.PositiveBigIntegerField()
    has_failed = models.BooleanField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.refund_id} failed" if self.has_failed else self.refund_id


class Dispute(models.Model):
    """A payment that its customer's bank disputes. It ends once, won or lost."""

    class State(models.TextChoices):
        OPEN = "open"
        WON = "won"
        LOST = "lost"

    dispute_id = models.CharField(max_length=80, primary_key=True)
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="disputes")
    amount_cents = models.PositiveBigIntegerField()
    state = models.CharField(max_length=4, choices=State.choices)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.dispute_id} {self.state}"


class Term(models.Model):
    """A paid year of a subscription. Its credits come month by month; the row says when to look next."""

    team = models.ForeignKey(Team, models.PROTECT, related_name="terms")
    subscription_id = models.CharField(max_length=80)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    next_at = models.DateTimeField(null=True, help_text="When its next month begins. Empty: it has no further one.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["subscription_id", "starts_at"], name="term_once_per_start")]
        indexes = [models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="term_due")]

    def __str__(self) -> str:
        return f"{self.subscription_id} from {self.starts_at:%Y-%m-%d}"


class StripeEvent(models.Model):
    """The inbox: one line for each event, kept for ever, so that none is taken twice. It says only what to look at."""

    event_id = models.CharField(max_length=80, primary_key=True)
    type = models.CharField(max_length=80)
    object_id = models.CharField(max_length=120)
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    processed_at = models.DateTimeField(null=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now(), help_text="Nobody takes it before this.")
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(processed_at=None), name="stripe_event_waiting"),
            models.Index(fields=["-received_at"], name="stripe_event_list"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class StripeSetup(models.Model):
    """What `setup_billing` made at Stripe, once for tests and once for real."""

    livemode = models.BooleanField(primary_key=True)
    portal_configuration = models.CharField(max_length=80, blank=True)
    webhook_endpoint = models.CharField(max_length=80, blank=True)

    def __str__(self) -> str:
        return "live" if self.livemode else "test"
