"""What this app keeps in a session: the team that was chosen, and the invitation that was opened."""

from allauth.account.adapter import get_adapter
from django.http import HttpRequest

from accounts.models import Invitation, Team

TEAM_KEY = "team"
INVITATION_KEY = "invitation"


def chosen_team(request: HttpRequest) -> str:
    return str(request.session.get(TEAM_KEY, ""))


def choose_team(request: HttpRequest, team: Team) -> None:
    request.session[TEAM_KEY] = str(team.pk)


def invitation_id(request: HttpRequest) -> str:
    return str(request.session.get(INVITATION_KEY, ""))


def keep_invitation(request: HttpRequest, invitation: Invitation | None) -> None:
    """Remember an opened invitation over the sign-up. Who holds its link reads its mailbox: no need to ask again."""
    if invitation is None:
        request.session.pop(INVITATION_KEY, None)
        return
    request.session[INVITATION_KEY] = str(invitation.pk)
    if not request.user.is_authenticated:
        get_adapter().stash_verified_email(request, invitation.email)
