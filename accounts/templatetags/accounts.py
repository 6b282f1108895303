"""What the pages need to show people, teams and their acts."""

from django import template
from django.utils import timezone

from accounts import activity
from accounts.models import Activity, Invitation

register = template.Library()

# The first that is named wins: Edge and Opera call themselves Chrome, too, and Chrome calls itself Safari.
BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    *(("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows")),
    *(("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)  # fmt: skip


@register.filter
def did(line: Activity) -> str:
    """What somebody did, in words: `made the key`."""
    return activity.words_of(line.verb)


@register.filter
def is_expired(invitation: Invitation) -> bool:
    """Whether its link has stopped working for its age."""
    return invitation.expires_at <= timezone.now()


@register.filter
def device(user_agent: str) -> str:
    """What a browser calls itself, as people would: `Chrome on Linux`."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    return " on ".join(filter(None, (browser or (system and "A program"), system))) or "An unknown program"
