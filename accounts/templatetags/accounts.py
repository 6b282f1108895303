"""What the pages need to show people, teams and their acts."""

from django import template
from django.utils import timezone

from accounts import activity
from accounts.models import Activity, Invitation

register = template.Library()


@register.filter
def did(line: Activity) -> str:
    """What somebody did, in words: `made the key`."""
    return activity.words_of(line.verb)


@register.filter
def is_expired(invitation: Invitation) -> bool:
    """Whether its link has stopped working for its age."""
    return invitation.expires_at <= timezone.now()
