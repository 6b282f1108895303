"""Teams: opened, named, handed over, closed and reopened."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts import activity
from accounts.errors import NotAllowed, TooLate, TooManyTeams
from accounts.models import Membership, Team, User
from accounts.services.locks import lock_person, lock_team, place_in
from accounts.signals import team_closed, team_created, team_described, team_reopened

TEAMS_OWNED_MAX = 10
Role = Membership.Role


@transaction.atomic
def open_team(user: User) -> Team:
    """Give a person the team that everybody starts with. Asked again, the first one is the answer."""
    lock_person(user)  # two sign-ups of one person take turns
    own = Team.objects.filter(memberships__user=user, closed_at=None).order_by("memberships__created_at")
    return own.first() or _create(user, user.name or user.email.partition("@")[0], verb="account.created")


@transaction.atomic
def create_team(*, user: User, name: str) -> Team:
    """Open another team, with its maker as its owner.

    Raises:
        TooManyTeams: the person owns `TEAMS_OWNED_MAX` teams, those that wait for their deletion included.
    """
    lock_person(user)
    if Membership.objects.filter(user=user, role=Role.OWNER, team__purged_at=None).count() >= TEAMS_OWNED_MAX:
        raise TooManyTeams(f"A person can own {TEAMS_OWNED_MAX} teams.")
    return _create(user, name, verb="team.created")


@transaction.atomic
def rename_team(*, team: Team, name: str, actor: User) -> None:
    """Give a team another name. The same name again changes nothing."""
    if Team.objects.filter(pk=team.pk).exclude(name=name).update(name=name):
        activity.record(team=team, actor=actor, verb="team.renamed", target=name)
        team_described.send(sender=Team, team=team)


@transaction.atomic
def transfer_team(*, team: Team, to: Membership, actor: User) -> bool:
    """Make a member the owner; who was the owner becomes an admin. Whether this call did it: an owner stays one.

    Raises:
        NotAllowed: the actor no longer owns the team.
        MemberGone, TeamIsClosed
    """
    lock_team(team)
    heir = place_in(team, to)
    if heir.role == Role.OWNER:
        return False
    if not Membership.objects.filter(team=team, user=actor, role=Role.OWNER).update(role=Role.ADMIN):
        raise NotAllowed("Only its owner hands a team over.")
    Membership.objects.filter(pk=heir.pk).update(role=Role.OWNER)
    Team.objects.filter(pk=team.pk).update(email=heir.user.email)
    activity.record(team=team, actor=actor, verb="team.transferred", target=heir.user.email)
    team_described.send(sender=Team, team=team)
    return True


@transaction.atomic
def close_team(*, team: Team, actor: User | str) -> bool:
    """Delete a team, softly: nobody acts for it any more, `GRACE_DAYS` later it is gone. Whether this call did it."""
    if not Team.objects.filter(pk=team.pk, closed_at=None).update(closed_at=Now()):
        return False
    activity.record(team=team, actor=actor, verb="team.closed")
    team_closed.send(sender=Team, team=team)
    return True


@transaction.atomic
def reopen_team(*, team: Team, actor: User | str) -> None:
    """Take a deletion back. A team that is open stays open.

    Raises:
        TooLate: its time has run out.
    """
    if not Team.objects.filter(pk=team.pk, closed_at__gt=grace_begin()).update(closed_at=None):
        if Team.objects.filter(pk=team.pk, closed_at=None).exists():
            return
        raise TooLate("The time to restore this team is over.")
    activity.record(team=team, actor=actor, verb="team.restored")
    team_reopened.send(sender=Team, team=team)


def grace_begin() -> datetime:
    """What was deleted before this moment can no longer be restored."""
    return timezone.now() - timedelta(days=settings.GRACE_DAYS)


def _create(user: User, name: str, *, verb: str) -> Team:
    team = Team.objects.create(name=name[: Team._meta.get_field("name").max_length], email=user.email)
    Membership.objects.create(user=user, team=team, role=Role.OWNER)
    activity.record(team=team, actor=user, verb=verb)
    team_created.send(sender=Team, team=team, user=user, is_first=verb == "account.created")
    return team
