"""The way from our own stable addresses to files of the store, for whoever may see them."""

from django.core.files.storage import default_storage
from django.http import HttpResponseRedirect

from generation.views.images import REDIRECT_SECONDS


def lead_to(key: str) -> HttpResponseRedirect:
    """To a short-lived link to a file. Whoever calls this has checked the team."""
    return HttpResponseRedirect(
        default_storage.url(key), headers={"Cache-Control": f"private, max-age={REDIRECT_SECONDS}"}
    )
