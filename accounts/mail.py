"""The mails that accounts send. Called after the commit, never inside a transaction."""

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from accounts.models import Invitation, Membership, Team, User

logger = structlog.get_logger(__name__)


def send_invitation(invitation: Invitation, link: str) -> bool:
    """Send an invitation's link to its address. Whether the mail server took it."""
    return _send("invitation", invitation.email, invitation=invitation, link=link, days=settings.INVITATION_DAYS)


def tell_role(member: Membership, role: str, *, actor: User | str) -> bool:
    """Tell a person that somebody gave them another role. Whether the mail server took it; it is not sent again."""
    label = Membership.Role(role).label.lower()
    return _send("role_changed", member.user.email, team=member.team, role=label, actor=actor)


def tell_removed(person: User, team: Team, *, actor: User | str) -> bool:
    """Tell a person that somebody took them out of a team. Whether the mail server took it; it is not sent again."""
    return _send("member_removed", person.email, team=team, actor=actor)


def tell_second_step_off(person: User) -> bool:
    """Tell a person that staff switched their two-step sign-in off. Whether the mail server took it."""
    return _send("second_step_off", person.email)


def _send(template: str, address: str, **context: object) -> bool:
    context |= {"site_name": settings.SITE_NAME, "site_url": settings.SITE_URL}
    message = EmailMessage(
        subject=" ".join(render_to_string(f"emails/{template}_subject.txt", context).split()),
        body=render_to_string(f"emails/{template}.txt", context),
        to=[address],
    )
    try:
        return message.send() == 1
    except OSError as error:  # smtplib's errors are OSErrors, too
        logger.warning("mail_not_sent", template=template, error=type(error).__name__)
        return False
