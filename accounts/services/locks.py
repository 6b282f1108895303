"""The two row locks of this app. Order: person, team. Who changes members or places of a team holds its row."""

from accounts.errors import MemberGone, TeamIsClosed
from accounts.models import Membership, Team, User


def lock_person(user: User) -> None:
    User.objects.select_for_update(no_key=True).only("pk").get(pk=user.pk)


def lock_team(team: Team) -> Team:
    """The row of an open team, locked until the transaction ends. Raises: TeamIsClosed."""
    locked = Team.objects.select_for_update(no_key=True).filter(pk=team.pk, closed_at=None).first()
    if locked is None:
        raise TeamIsClosed("This team is closed.")
    return locked


def place_in(team: Team, member: Membership) -> Membership:
    """A member's place as it is now; the team must be locked. Raises: MemberGone."""
    found = Membership.objects.select_related("user").filter(pk=member.pk, team=team).first()
    if found is None:
        raise MemberGone("They have left the team in the meantime.")
    return found
