"""Members: their roles, and how they go. Whoever acts is looked up again under the team's lock."""

from django.db import transaction
from django.db.models.functions import Now

from accounts import activity
from accounts.errors import NotAllowed, OwnerStays
from accounts.models import ApiKey, Invitation, Membership, Team, User
from accounts.services.locks import lock_team, place_in
from accounts.signals import member_left

Role = Membership.Role
RANKS = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2, Role.OWNER: 3}


@transaction.atomic
def change_role(*, member: Membership, role: str, actor: User | str) -> bool:
    """Give a member another role. Whether this call did it: the role they have changes nothing.

    An actor in words is staff, who have no role of their own.

    Raises:
        OwnerStays: the member is the owner, or the role is: a team is handed over by `transfer_team`.
        NotAllowed: the role is above the actor's, or it is the actor's own place.
        MemberGone, TeamIsClosed
    """
    team, member = _lock(member)
    if Role.OWNER in (member.role, role):
        raise OwnerStays("A team has one owner. Hand the team over instead.")
    if isinstance(actor, User):
        if member.user_id == actor.pk:
            raise NotAllowed("Nobody changes their own role.")
        check_rank(team, actor, role)
    is_new = bool(Membership.objects.filter(pk=member.pk).exclude(role=role).update(role=role))
    if is_new:
        activity.record(team=team, actor=actor, verb="member.role_changed", target=member.user.email, role=role)
    return is_new


@transaction.atomic
def remove_member(*, member: Membership, actor: User | str) -> None:
    """Take a person out of a team: their keys, their invitations and their open pages of this team stop at once.

    An actor in words is staff, who have no role of their own.

    Raises:
        OwnerStays: the member is the owner.
        NotAllowed: the member's role is above the actor's.
        MemberGone, TeamIsClosed
    """
    team, member = _lock(member)
    if isinstance(actor, User):
        check_rank(team, actor, member.role)
    _take_out(team, member, actor=actor, verb="member.removed")


@transaction.atomic
def leave_team(member: Membership) -> None:
    """Let a member go, by their own wish; as if they were removed.

    Raises:
        OwnerStays: the owner hands the team over first, or deletes it.
        MemberGone, TeamIsClosed
    """
    team, member = _lock(member)
    _take_out(team, member, actor=member.user, verb="member.left")


def check_rank(team: Team, actor: User, role: str) -> None:
    """Raises: NotAllowed, the actor is below that role, or no longer in the team."""
    own = Membership.objects.filter(team=team, user=actor).values_list("role", flat=True).first()
    if own is None or RANKS[Role(own)] < RANKS[Role(role)]:
        raise NotAllowed("Your role in this team is not high enough for that.")


def _lock(member: Membership) -> tuple[Team, Membership]:
    team = lock_team(member.team)
    return team, place_in(team, member)


def _take_out(team: Team, member: Membership, *, actor: User | str, verb: str) -> None:
    if member.role == Role.OWNER:
        raise OwnerStays("The owner hands the team over first, or deletes it.")
    member.delete()
    # Revoked for good, so that nothing comes back to life when the person is invited again.
    ApiKey.objects.filter(team=team, user=member.user, revoked_at=None).update(revoked_at=Now())
    mine = Invitation.objects.filter(team=team, invited_by=member.user, accepted_at=None, revoked_at=None)
    mine.update(revoked_at=Now())
    activity.record(team=team, actor=actor, verb=verb, target=member.user.email if actor != member.user else "")
    member_left.send(sender=Membership, team=team, user=member.user)
