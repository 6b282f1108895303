"""The mails that accounts send. Called after the commit, never inside a transaction."""

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from accounts.models import Invitation

logger = structlog.get_logger(__name__)


def send_invitation(invitation: Invitation, link: str) -> bool:
    """Send an invitation's link to its address. Whether the mail server took it."""
    context = {
        "invitation": invitation,
        "link": link,
        "site_name": settings.SITE_NAME,
        "days": settings.INVITATION_DAYS,
    }
    message = EmailMessage(
        subject=" ".join(render_to_string("emails/invitation_subject.txt", context).split()),
        body=render_to_string("emails/invitation.txt", context),
        to=[invitation.email],
    )
    try:
        return message.send() == 1
    except OSError as error:  # smtplib's errors are OSErrors, too
        logger.warning("invitation_not_sent", invitation=str(invitation.pk), error=type(error).__name__)
        return False
