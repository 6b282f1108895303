"""What is read about accounts."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, cast
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import ApiKey, Invitation, Membership, Team, User
from accounts.services import grace_begin, hash_secret
from accounts.signals import key_spending_asked
from tenkaigen.months import month_of

LAST_USED_EVERY = timedelta(minutes=1)


def memberships_of(user: User) -> QuerySet[Membership]:
    """A person's places in teams, the oldest first."""
    found = Membership.objects.filter(user=user, team__closed_at=None)
    return found.select_related("team").order_by("created_at", "id")


def team_of(user: User) -> Team | None:
    """The first team of a person: what commands mean by an e-mail address."""
    membership = memberships_of(user).first()
    return membership.team if membership else None


def members_of(team: Team) -> QuerySet[Membership]:
    return Membership.objects.filter(team=team).select_related("user", "team").order_by("created_at", "id")


def open_invitations(team: Team) -> QuerySet[Invitation]:
    """What was neither accepted nor revoked, the expired ones included: they can be sent again."""
    found = Invitation.objects.filter(team=team, accepted_at=None, revoked_at=None)
    return found.select_related("team", "invited_by").order_by("-created_at")


def find_invitation(secret: str) -> Invitation | None:
    """The invitation whose link this is, while it works."""
    return _working_invitations().filter(token_sha256=hash_secret(secret)).first()


def open_invitation(invitation_id: str) -> Invitation | None:
    """An invitation while it works."""
    try:
        return _working_invitations().filter(pk=UUID(invitation_id)).first()
    except ValueError:
        return None


def closed_teams_of(user: User) -> QuerySet[Team]:
    """The teams that a person owns and has deleted, as long as they can restore them."""
    own = Team.objects.filter(memberships__user=user, memberships__role=Membership.Role.OWNER)
    return own.filter(closed_at__gt=grace_begin(), purged_at=None).order_by("closed_at")


def _working_invitations() -> QuerySet[Invitation]:
    found = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=Now(), team__closed_at=None)
    return found.select_related("team", "invited_by")


def keys_of(team: Team) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(team=team, revoked_at=None).select_related("user").order_by("-created_at")


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a key has spent in a calendar month (UTC), in hundredths of a credit, what is set aside included."""

    spent_centi: int
    cap_centi: int | None
    resets_at: datetime


def uses_of(keys: Collection[ApiKey]) -> dict[UUID, KeyUse]:
    """By the ids of keys, what they have spent in this month. Accounts know of no jobs: whoever does is asked."""
    since, until = month_of(timezone.now())
    spent: dict[UUID, int] = {}
    if keys:
        ids = [key.pk for key in keys]
        for _, answer in key_spending_asked.send(sender=ApiKey, keys=ids, since=since, until=until):
            spent.update(cast("dict[UUID, int]", answer))
    return {key.pk: KeyUse(spent.get(key.pk, 0), key.monthly_cap_centi, until) for key in keys}


def find_key(text: str) -> tuple[ApiKey, Membership] | None:
    """The key in use that `text` is, and its maker's place in its team; or None.

    The maker must still be active and in the team, and the key neither revoked nor past its time.
    """
    kind, _, rest = text.partition("_")
    prefix, _, secret = rest.partition("_")
    if kind != "tk" or not secret or not prefix.isalnum():
        return None
    key = _usable_keys().filter(prefix=prefix).first()
    if key is None or not compare_digest(key.secret_sha256, hash_secret(secret)):
        return None
    _note_use(key)
    return key, Membership(user=key.user, team=key.team, role=key.role)


def _usable_keys() -> Any:  # QuerySet[ApiKey], with the maker's role as it is now
    role = Membership.objects.filter(user=OuterRef("user"), team=OuterRef("team")).values("role")
    keys = ApiKey.objects.annotate(role=Subquery(role)).filter(role__isnull=False)
    in_time = Q(expires_at=None) | Q(expires_at__gt=Now())
    nobody_left = Q(user__is_active=True, user__closed_at=None, team__closed_at=None)
    return keys.filter(in_time, nobody_left, revoked_at=None).select_related("team", "user")


def _note_use(key: ApiKey) -> None:
    # Once a minute is enough to tell a used key from a forgotten one, and spares a write a request.
    before = timezone.now() - LAST_USED_EVERY
    if key.last_used_at and key.last_used_at >= before:
        return
    ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=before), pk=key.pk).update(last_used_at=Now())
