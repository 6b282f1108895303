"""Teams, and who is in them."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from accounts.models.people import User


class Team(models.Model):
    """Who owns jobs, pictures and credits. Later also the subscriber at Stripe, which is why it has an e-mail."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80)
    email = models.EmailField()
    members = models.ManyToManyField(User, through="Membership", related_name="teams")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    closed_at = models.DateTimeField(null=True, editable=False, help_text="Deleted by its owner; can be restored.")
    purged_at = models.DateTimeField(null=True, editable=False, help_text="Deleted for good; only its books are left.")

    class Meta:
        indexes = [
            models.Index(
                fields=["closed_at"], name="team_to_purge", condition=Q(closed_at__isnull=False, purged_at=None)
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(purged_at=None) | Q(closed_at__isnull=False), name="team_is_closed_before_it_is_purged"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's place in a team."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"
        VIEWER = "viewer"

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["team", "created_at"], name="membership_list")]
        constraints = [
            models.UniqueConstraint(fields=["user", "team"], name="membership_once_per_user_and_team"),
            models.UniqueConstraint(fields=["team"], condition=Q(role="owner"), name="team_has_one_owner_at_most"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.team_id}"


class Invitation(models.Model):
    """An offer of a place in a team, sent to an address. Only the hash of its link is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=8, choices=Membership.Role.choices, default=Membership.Role.MEMBER)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_count = models.PositiveSmallIntegerField(default=1)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["team", "-created_at"], name="invitation_list")]
        constraints = [
            models.UniqueConstraint(
                fields=["team", "email"],
                condition=Q(accepted_at=None, revoked_at=None),
                name="invitation_open_once_per_address",
            ),
            models.CheckConstraint(condition=~Q(role="owner"), name="invitation_makes_no_owner"),
            models.CheckConstraint(condition=Q(email=Lower("email")), name="invitation_address_is_lower_case"),
        ]

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"
