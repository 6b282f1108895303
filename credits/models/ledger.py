"""The ledger's own tables. `credits.ledger` is their only writer.

Two units: a grant of `credit` counts in the wallet's balance; a grant of `image`, which a pass makes, counts only in
itself. Every amount is in hundredths of its unit.
"""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import Team


class Wallet(models.Model):
    """A team's balance. Its row is the one lock of every movement."""

    team = models.OneToOneField(Team, models.PROTECT, related_name="wallet")
    available_centi = models.BigIntegerField(default=0)
    held_centi = models.BigIntegerField(default=0)
    debt_centi = models.BigIntegerField(default=0)
    seq = models.BigIntegerField(default=0, help_text="Number of the newest entry.")
    frozen_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(available_centi__gte=0), name="wallet_available_is_not_negative"),
            models.CheckConstraint(condition=Q(held_centi__gte=0), name="wallet_held_is_not_negative"),
            models.CheckConstraint(condition=Q(debt_centi__gte=0), name="wallet_debt_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"wallet of {self.team_id}"


class Grant(models.Model):
    """Credits that came from one place, once, and every bucket they are in now."""

    class Source(models.TextChoices):
        PLAN = "plan"
        BONUS = "bonus"
        PURCHASE = "purchase"
        PASS = "pass"  # noqa: S105
        ADJUSTMENT = "adjustment"

    class Unit(models.TextChoices):
        CREDIT = "credit"
        IMAGE = "image"

    wallet = models.ForeignKey(Wallet, models.PROTECT, related_name="grants", db_index=False)  # the burn order has one
    unit = models.CharField(max_length=6, choices=Unit.choices, default=Unit.CREDIT)
    covers_px = models.PositiveIntegerField(null=True, help_text="Longest side of a picture that an image unit pays.")
    source = models.CharField(max_length=10, choices=Source.choices)
    source_ref = models.CharField(max_length=120)
    burn_rank = models.SmallIntegerField(help_text="Smaller burns first among grants that end together.")
    effective_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True)
    granted_centi = models.BigIntegerField()
    available_centi = models.BigIntegerField()
    held_centi = models.BigIntegerField(default=0)
    spent_centi = models.BigIntegerField(default=0)
    expired_centi = models.BigIntegerField(default=0)
    revoked_centi = models.BigIntegerField(default=0)
    payment_ref = models.CharField(max_length=120, blank=True, help_text="The payment a refund of it would name.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    is_new = False  # True on the one that `ledger.grant` has just made, not on what a replay finds

    class Meta:
        constraints = [
            # For ever: a replayed webhook or command of any age finds its first grant.
            models.UniqueConstraint(fields=["source", "source_ref"], name="grant_once_per_source_reference"),
            models.CheckConstraint(
                name="grant_is_conserved",
                condition=Q(
                    granted_centi=F("available_centi")
                    + F("held_centi")
                    + F("spent_centi")
                    + F("expired_centi")
                    + F("revoked_centi")
                ),
            ),
            models.CheckConstraint(
                name="grant_buckets_are_not_negative",
                condition=Q(
                    granted_centi__gt=0,
                    available_centi__gte=0,
                    held_centi__gte=0,
                    spent_centi__gte=0,
                    expired_centi__gte=0,
                    revoked_centi__gte=0,
                ),
            ),
            models.CheckConstraint(
                name="grant_of_images_is_whole_and_of_a_pass",
                condition=Q(unit="credit", covers_px=None) | Q(unit="image", source="pass", covers_px__gt=0),
            ),
            models.CheckConstraint(
                name="grant_ends_after_it_begins",
                condition=Q(expires_at=None) | Q(expires_at__gt=F("effective_at")),
            ),
        ]
        # Not partial on "available > 0": a predicate on a changing column makes every update a cold one.
        indexes = [
            models.Index(fields=["wallet", "expires_at", "burn_rank", "id"], name="grant_burn_order"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="grant_expiry"),
            models.Index(fields=["payment_ref"], condition=~Q(payment_ref=""), name="grant_of_payment"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.source_ref}"


class Hold(models.Model):
    """Credits, and images of a pass, set aside for one job, until `settle` or the sweep ends it."""

    class State(models.TextChoices):
        PENDING = "pending"
        SETTLED = "settled"
        EXPIRED = "expired"  # the sweep found no living job and gave everything back

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    wallet = models.ForeignKey(Wallet, models.PROTECT, related_name="holds")
    reference = models.CharField(max_length=80)
    amount_centi = models.BigIntegerField()
    charged_centi = models.BigIntegerField(default=0)
    released_centi = models.BigIntegerField(default=0)
    pass_images = models.PositiveSmallIntegerField(default=0, help_text="Images that a pass pays.")
    pass_images_charged = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    quote = models.JSONField()
    expires_at = models.DateTimeField(help_text="After this the sweep asks whether the job still runs.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reference"], name="hold_once_per_reference"),
            models.CheckConstraint(
                condition=Q(amount_centi__gte=0) & (Q(amount_centi__gt=0) | Q(pass_images__gt=0)),
                name="hold_holds_something",
            ),
            models.CheckConstraint(
                name="hold_is_settled_in_full",
                condition=Q(state="pending", charged_centi=0, released_centi=0, pass_images_charged=0)
                | Q(
                    state="settled",
                    charged_centi__gte=0,
                    released_centi__gte=0,
                    amount_centi=F("charged_centi") + F("released_centi"),
                    pass_images_charged__lte=F("pass_images"),
                )
                | Q(state="expired", charged_centi=0, released_centi=F("amount_centi"), pass_images_charged=0),
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="pending"), name="hold_due"),
            models.Index(fields=["wallet"], condition=Q(state="pending"), name="hold_pending_per_wallet"),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def job_id(self) -> str:
        """The job it is for: one settled late has a second hold."""
        return self.reference.partition(":")[0]


class HoldPart(models.Model):
    """What one grant gives to one hold."""

    hold = models.ForeignKey(Hold, models.PROTECT, related_name="parts", db_index=False)  # its constraint has one
    grant = models.ForeignKey(Grant, models.PROTECT, related_name="parts")
    amount_centi = models.BigIntegerField()
    charged_centi = models.BigIntegerField(default=0)
    released_centi = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["hold", "grant"], name="part_once_per_hold_and_grant"),
            models.CheckConstraint(
                name="part_gives_what_it_has",
                condition=Q(amount_centi__gt=0, charged_centi__gte=0, released_centi__gte=0)
                & Q(amount_centi__gte=F("charged_centi") + F("released_centi")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hold_id} from {self.grant_id}"


class Entry(models.Model):
    """One movement between two buckets of a grant. Inserted, never changed or deleted: a trigger refuses both."""

    class Kind(models.TextChoices):
        GRANT = "grant"  # nothing -> available
        RESERVE = "reserve"  # available -> held
        SETTLE = "settle"  # held -> spent
        RELEASE = "release"  # held -> available
        LAPSE = "lapse"  # held -> expired: released after its grant had ended
        EXPIRE = "expire"  # available -> expired
        REVOKE = "revoke"  # available -> revoked
        REINSTATE = "reinstate"  # revoked -> available
        OWE = "owe"  # nothing moves; the wallet's debt rises: revoked, but spent already
        REPAY = "repay"  # available -> spent; the debt falls
        FORGIVE = "forgive"  # nothing moves; the debt falls

    # Every index of this table costs every movement, and others begin with the wallet and the hold.
    wallet = models.ForeignKey(Wallet, models.PROTECT, related_name="entries", db_index=False)
    seq = models.BigIntegerField()
    grant = models.ForeignKey(Grant, models.PROTECT, related_name="entries")
    hold = models.ForeignKey(Hold, models.PROTECT, null=True, related_name="entries", db_index=False)
    kind = models.CharField(max_length=9, choices=Kind.choices)
    amount_centi = models.BigIntegerField()
    available_after_centi = models.BigIntegerField()
    held_after_centi = models.BigIntegerField()
    debt_after_centi = models.BigIntegerField(default=0)
    actor = models.CharField(max_length=120, blank=True, help_text="Who did it: a person, a command, the system.")
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            # A lost update would number two entries alike.
            models.UniqueConstraint(fields=["wallet", "seq"], name="entry_has_its_own_number"),
            models.UniqueConstraint(
                fields=["hold", "grant", "kind"],
                condition=Q(hold__isnull=False),
                name="entry_once_per_hold_grant_and_kind",
            ),
            models.UniqueConstraint(fields=["grant"], condition=Q(kind="grant"), name="entry_grants_once"),
            models.CheckConstraint(condition=Q(amount_centi__gt=0), name="entry_moves_something"),
            models.CheckConstraint(
                name="entry_names_its_hold",
                condition=Q(kind__in=["reserve", "settle", "release", "lapse"], hold__isnull=False)
                | Q(
                    kind__in=["grant", "expire", "revoke", "reinstate", "owe", "repay", "forgive"],
                    hold__isnull=True,
                ),
            ),
            models.CheckConstraint(
                name="entry_leaves_nothing_negative",
                condition=Q(available_after_centi__gte=0, held_after_centi__gte=0, debt_after_centi__gte=0),
            ),
        ]
        indexes = [
            models.Index(fields=["wallet", "kind", "-seq"], name="entry_statement_by_kind"),
            models.Index(fields=["wallet", "created_at", "seq"], name="entry_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount_centi}"


class Clawback(models.Model):
    """A refund or dispute that took credits back. `source_ref` names it for ever, so that it takes them once."""

    reference = models.CharField(max_length=120, unique=True)
    grant = models.ForeignKey(Grant, models.PROTECT, related_name="clawbacks")
    revoked_centi = models.BigIntegerField(help_text="Taken from what was available.")
    owed_centi = models.BigIntegerField(help_text="Spent or set aside already, so it became debt.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    undone_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(revoked_centi__gte=0, owed_centi__gte=0), name="clawback_takes_nothing_negative"
            )
        ]

    def __str__(self) -> str:
        return self.reference


class Uncollected(models.Model):
    """Work that was delivered after its hold had ended, and that the wallet could no longer pay."""

    hold = models.OneToOneField(Hold, models.PROTECT, related_name="uncollected")
    amount_centi = models.BigIntegerField()
    delivered = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "uncollected"
        constraints = [models.CheckConstraint(condition=Q(amount_centi__gt=0), name="uncollected_is_something")]

    def __str__(self) -> str:
        return f"{self.amount_centi} for {self.hold_id}"
