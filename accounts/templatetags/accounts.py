"""What the pages need to show people, teams and their acts."""

from django import template

from accounts import activity
from accounts.models import Activity

register = template.Library()


@register.filter
def did(line: Activity) -> str:
    """What somebody did, in words: `made the key`."""
    return activity.words_of(line.verb)
