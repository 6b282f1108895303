"""What the commands about credits take, and how they say no."""

from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from accounts.models import Team, User
from accounts.queries import team_of
from credits.amounts import parse, show
from credits.queries import balance_of
from credits.services import TEXT_CHARS_MAX


def add_team(parser: CommandParser) -> None:
    parser.add_argument("team", metavar="EMAIL|TEAM", help="the address of a person (their first team), or a team's id")


def add_reference(parser: CommandParser) -> None:
    parser.add_argument("--reference", required=True, help="ticket or incident, e.g. support-4711")


def team_called(text: str) -> Team:
    """The team that an argument names.

    Raises:
        CommandError: there is none.
    """
    try:
        team = Team.objects.filter(pk=UUID(text)).first()
    except ValueError:
        user = User.objects.filter(email=text.lower()).first()
        team = team_of(user) if user else None
        if team is None:
            raise CommandError(f"no user {text} with a team") from None
    if team is None:
        raise CommandError(f"no team {text}")
    return team


def amount_called(text: str) -> int:
    """Hundredths of a credit.

    Raises:
        CommandError: it is no amount.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise CommandError(str(error)) from error


def check_texts(**texts: str) -> None:
    """Refuse what is empty or too long to be kept.

    Raises:
        CommandError: which option it was.
    """
    for option, text in texts.items():
        if not 0 < len(text) <= TEXT_CHARS_MAX:
            raise CommandError(f"--{option} must have 1 to {TEXT_CHARS_MAX} characters")


def balance_line(team: Team) -> str:
    return f"{team.name}: {show(balance_of(team).available_centi)} credits available"
