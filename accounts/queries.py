"""What is read about accounts."""

from datetime import timedelta
from hmac import compare_digest

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import ApiKey, Membership, Team, User
from accounts.services import hash_secret

LAST_USED_EVERY = timedelta(minutes=1)


def team_of(user: User) -> Team | None:
    """The team a person acts for."""
    membership = Membership.objects.filter(user=user).select_related("team").order_by("created_at", "id").first()
    return membership.team if membership else None


def keys_of(team: Team) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(team=team, revoked_at=None).select_related("user").order_by("-created_at")


def find_key(text: str) -> ApiKey | None:
    """The key in use that `text` is, or None. Its maker must still be active and in the team."""
    kind, _, rest = text.partition("_")
    prefix, _, secret = rest.partition("_")
    if kind != "tk" or not secret:
        return None
    in_team = Membership.objects.filter(user=OuterRef("user"), team=OuterRef("team"))
    usable = ApiKey.objects.filter(Exists(in_team), prefix=prefix, revoked_at=None, user__is_active=True)
    key = usable.select_related("team", "user").first()
    if key is None or not compare_digest(key.secret_sha256, hash_secret(secret)):
        return None
    _note_use(key)
    return key


def _note_use(key: ApiKey) -> None:
    # Once a minute is enough to tell a used key from a forgotten one, and spares a write a request.
    before = timezone.now() - LAST_USED_EVERY
    if key.last_used_at and key.last_used_at >= before:
        return
    ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=before), pk=key.pk).update(last_used_at=Now())
