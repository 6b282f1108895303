"""What a team was told about its credits, so that it is told once."""

from django.db import models
from django.db.models.functions import Now

from credits.models.ledger import Wallet


class Notice(models.Model):
    """One notice to one team: it runs low, or some of its credits end soon."""

    class Kind(models.TextChoices):
        LOW = "low", "credits run low"
        EXPIRY = "expiry", "credits end soon"

    wallet = models.ForeignKey(Wallet, models.PROTECT, related_name="notices")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    key = models.CharField(max_length=80, help_text="The threshold and top-up, or the grant, that it is about.")
    text = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    seen_at = models.DateTimeField(null=True, editable=False)
    mailed_at = models.DateTimeField(null=True, editable=False)
    mail_due_at = models.DateTimeField(null=True, editable=False, help_text="Nobody sends its mail before this.")
    mail_attempts = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="Begun, and not heard of."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["wallet", "kind", "key"], name="notice_once_per_key")]

    def __str__(self) -> str:
        return self.text
