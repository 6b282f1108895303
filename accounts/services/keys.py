"""Keys of programs: made once, shown once, stopped at once."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from accounts import activity
from accounts.errors import TooManyKeys
from accounts.models import ApiKey, Team, User
from accounts.models.keys import default_scopes
from accounts.services.locks import lock_team

KEYS_PER_TEAM_MAX = 20


@transaction.atomic
def create_api_key(
    *,
    team: Team,
    user: User,
    name: str,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
    monthly_cap_centi: int | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its only readable copy. Without `scopes` it reads and generates.

    `monthly_cap_centi` is what its jobs may cost in a calendar month (UTC); a job knows the key it came with.

    Raises:
        TooManyKeys: the team has `KEYS_PER_TEAM_MAX` keys in use.
        TeamIsClosed
    """
    lock_team(team)  # two at once count one after the other
    if ApiKey.objects.filter(team=team, revoked_at=None).count() >= KEYS_PER_TEAM_MAX:
        raise TooManyKeys(f"A team can have {KEYS_PER_TEAM_MAX} keys. Revoke one that is no longer used.")
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        team=team,
        user=user,
        name=name,
        prefix=prefix,
        secret_sha256=hash_secret(secret),
        scopes=default_scopes() if scopes is None else sorted(set(scopes)),
        expires_at=expires_at,
        monthly_cap_centi=monthly_cap_centi,
    )
    activity.record(team=team, actor=user, verb="key.created", target=name, prefix=prefix, scopes=key.scopes)
    return key, f"tk_{prefix}_{secret}"


@transaction.atomic
def revoke_api_key(key: ApiKey, *, actor: User | str) -> bool:
    """Stop a key at once. Whether this call did it."""
    if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=Now()):
        return False
    activity.record(team=key.team, actor=actor, verb="key.revoked", target=key.name, prefix=key.prefix)
    return True


def hash_secret(secret: str) -> str:
    # 256 random bits need no slow hash (ASVS 5.0, 6.5.2).
    return hashlib.sha256(secret.encode()).hexdigest()
