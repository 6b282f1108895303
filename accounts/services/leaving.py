"""People and teams go: softly first, `GRACE_DAYS` later for good. The books stay, and name nobody."""

from collections.abc import Callable
from typing import Any

import structlog
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts import activity
from accounts.errors import OwnerStays, TooLate
from accounts.models import Activity, ApiKey, Invitation, Membership, Team, User
from accounts.services.locks import lock_person, lock_team
from accounts.services.teams import close_team, grace_begin, reopen_team
from accounts.signals import person_erased, team_described, team_purged

logger = structlog.get_logger(__name__)
NOBODY = "a deleted person"
ERASED_PER_RUN_MAX = 200


def close_account(user: User) -> None:
    """Delete a person, softly: their keys, sessions and teams stop at once. Asked again, it changes nothing.

    Raises:
        OwnerStays: they own a team with other people in it; it is handed over or deleted first.
        TeamIsClosed: one of their teams was deleted at this moment.
    """
    with transaction.atomic():
        lock_person(user)
        for team in own_teams(user).order_by("pk"):
            lock_team(team)  # nobody joins it any more
        others = Membership.objects.filter(team__in=own_teams(user)).exclude(user=user)
        names = sorted(set(others.values_list("team__name", flat=True)))
        if names:
            raise OwnerStays(f"Hand over or delete the teams that others are in first: {', '.join(names)}.")
        User.objects.filter(pk=user.pk, closed_at=None).update(closed_at=Now())
        for team in own_teams(user):
            activity.record(team=team, actor=user, verb="account.closed")
            close_team(team=team, actor=user)
    end_sessions(user)


@transaction.atomic
def reopen_account(user: User) -> None:
    """Take a person's deletion back, and that of the teams that went with them.

    Raises:
        TooLate: the time has run out.
    """
    lock_person(user)
    closed_at = User.objects.values_list("closed_at", flat=True).get(pk=user.pk)
    if closed_at is None:
        return
    if not User.objects.filter(pk=user.pk, closed_at__gt=grace_begin(), erased_at=None).update(closed_at=None):
        raise TooLate("The time to restore this account is over.")
    mine = Team.objects.filter(memberships__user=user, memberships__role=Membership.Role.OWNER)
    for team in mine.filter(closed_at__gte=closed_at):
        reopen_team(team=team, actor=user)
        activity.record(team=team, actor=user, verb="account.restored")


def own_teams(user: User) -> QuerySet[Team]:
    """The open teams that a person owns."""
    return Team.objects.filter(memberships__user=user, memberships__role=Membership.Role.OWNER, closed_at=None)


def end_sessions(user: User) -> None:
    for session in UserSession.objects.filter(user=user):
        session.end()


def erase_due() -> tuple[int, int]:
    """Erase the teams and people whose time is over. How many of each; what fails is tried again next time."""
    late = {"closed_at__lte": grace_begin()}
    teams = Team.objects.filter(purged_at=None, **late).order_by("closed_at")[:ERASED_PER_RUN_MAX]
    people = User.objects.filter(erased_at=None, **late).order_by("closed_at")[:ERASED_PER_RUN_MAX]
    return sum(_tried(purge_team, team) for team in list(teams)), sum(_tried(erase_person, one) for one in list(people))


def purge_team(team: Team) -> None:
    """Delete for good what a closed team made, and everything that says who it was. Cut off, it is run again."""
    team_purged.send(sender=Team, team=team)
    with transaction.atomic():
        Activity.objects.filter(team=team).delete()
        Invitation.objects.filter(team=team).delete()
        Membership.objects.filter(team=team).delete()
        _end_keys(ApiKey.objects.filter(team=team))
        Team.objects.filter(pk=team.pk).update(
            name="Deleted team", email=f"team-{team.pk}@deleted.invalid", purged_at=Now()
        )
        _forget_in_the_admin(team, "Deleted team")
        team_described.send(sender=Team, team=team)


def erase_person(user: User) -> None:
    """Delete for good what is personal of a closed person; the row stays, for the books. Cut off, it is run again."""
    for team in Team.objects.filter(memberships__user=user, memberships__role=Membership.Role.OWNER, purged_at=None):
        Team.objects.filter(pk=team.pk, closed_at=None).update(closed_at=Now())
        purge_team(team)
    person_erased.send(sender=User, user=user)
    end_sessions(user)
    with transaction.atomic():
        Membership.objects.filter(user=user).delete()
        _end_keys(ApiKey.objects.filter(user=user))
        EmailAddress.objects.filter(user=user).delete()
        Authenticator.objects.filter(user=user).delete()
        Invitation.objects.filter(email__iexact=user.email).delete()
        Activity.objects.filter(actor_user=user).update(actor=NOBODY, actor_user=None)
        Activity.objects.filter(target=user.email).update(target=NOBODY)
        Activity.objects.filter(details__invited=user.email).update(details={})
        gone = User.objects.get(pk=user.pk)
        gone.email, gone.name, gone.is_active = f"person-{user.pk}@deleted.invalid", "", False
        gone.is_staff = gone.is_superuser = False
        gone.set_unusable_password()
        gone.save(update_fields=["email", "name", "is_active", "is_staff", "is_superuser", "password"])
        User.objects.filter(pk=user.pk).update(erased_at=Now(), last_login=None)
        _forget_in_the_admin(user, NOBODY)


def _tried(erase: Callable[[Any], None], row: Team | User) -> bool:
    try:
        erase(row)
    except Exception:  # one store that is away must not keep the others
        logger.exception("not_erased", row=str(row.pk))
        return False
    return True


def _forget_in_the_admin(row: Team | User, name: str) -> None:
    """The admin's own log of what staff changed names the row by what it was called then."""
    kind = ContentType.objects.get_for_model(row)
    LogEntry.objects.filter(content_type=kind, object_id=str(row.pk)).update(object_repr=name)


def _end_keys(keys: QuerySet[ApiKey]) -> None:
    keys.filter(revoked_at=None).update(revoked_at=Now())
    keys.update(name="deleted")
