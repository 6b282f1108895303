"""What is read about accounts."""

from datetime import timedelta
from hmac import compare_digest
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import ApiKey, Membership, Team, User
from accounts.services import hash_secret

LAST_USED_EVERY = timedelta(minutes=1)


def memberships_of(user: User) -> QuerySet[Membership]:
    """A person's places in teams, the oldest first."""
    return Membership.objects.filter(user=user).select_related("team").order_by("created_at", "id")


def team_of(user: User) -> Team | None:
    """The first team of a person: what commands mean by an e-mail address."""
    membership = memberships_of(user).first()
    return membership.team if membership else None


def keys_of(team: Team) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(team=team, revoked_at=None).select_related("user").order_by("-created_at")


def find_key(text: str) -> tuple[ApiKey, Membership] | None:
    """The key in use that `text` is, and its maker's place in its team; or None.

    The maker must still be active and in the team, and the key neither revoked nor past its time.
    """
    kind, _, rest = text.partition("_")
    prefix, _, secret = rest.partition("_")
    if kind != "tk" or not secret:
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
    return keys.filter(in_time, revoked_at=None, user__is_active=True).select_related("team", "user")


def _note_use(key: ApiKey) -> None:
    # Once a minute is enough to tell a used key from a forgotten one, and spares a write a request.
    before = timezone.now() - LAST_USED_EVERY
    if key.last_used_at and key.last_used_at >= before:
        return
    ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=before), pk=key.pk).update(last_used_at=Now())
