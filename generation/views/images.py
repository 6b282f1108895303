"""Pictures: the gallery, stable links to files, downloads, deleting."""

import re
from pathlib import PurePosixPath
from uuid import UUID

from django.contrib import messages
from django.core import signing
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import needs
from accounts.roles import Ability
from generation import queries, services, storage
from generation.models import Image
from tenkaigen.htmx import HtmxRequest
from tenkaigen.paging import BadCursor

CONTENT_TYPES = {".png": "image/png", ".webp": "image/webp"}
# The link behind it lives for 300 s: a browser may come back with it for as long as it is surely good.
REDIRECT_SECONDS = 240
NAME_WORDS_MAX = 8


@needs(Ability.READ)
@require_GET
def gallery(request: HtmxRequest) -> HttpResponse:
    try:
        found = queries.gallery_page(request.team, request.GET.get("cursor"))
    except BadCursor:
        return redirect("generation:gallery")
    return render(request, "generation/gallery.html", {"page": found})


@needs(Ability.READ)
@require_GET
def gallery_more(request: HtmxRequest) -> HttpResponse:
    try:
        found = queries.gallery_page(request.team, request.GET.get("cursor"))
    except BadCursor as error:
        raise Http404(str(error)) from None
    return render(request, "generation/_gallery_tiles.html", {"page": found})


@needs(Ability.READ)
@require_GET
def image(request: HtmxRequest, image_id: UUID, variant: str) -> HttpResponse:
    """A stable link to a picture: checks the team, then leads to a short-lived one. `?download=1` saves it."""
    found = find_image(request, image_id)
    if variant not in storage.VARIANTS:
        raise Http404
    is_download = variant == "original" and "download" in request.GET
    url = storage.short_lived_url(found, variant, file_name(found) if is_download else "")
    return HttpResponseRedirect(url, headers={"Cache-Control": f"private, max-age={REDIRECT_SECONDS}"})


@require_GET
def file(request: HtmxRequest, token: str) -> FileResponse:
    """A file of the store on this machine, for whoever holds a link that is signed and has not run out."""
    if not isinstance(default_storage, storage.SignedFileSystemStorage):
        raise Http404
    try:
        name, disposition = default_storage.read_link(token)
        content_type = CONTENT_TYPES[PurePosixPath(name).suffix]
        content = default_storage.open(name)
    except (signing.BadSignature, KeyError, FileNotFoundError):
        raise Http404("This link has run out.") from None
    headers = {
        "Cache-Control": "private, max-age=300",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    response = FileResponse(content, content_type=content_type, headers=headers)
    response.headers["Content-Disposition"] = disposition or "inline"  # a FileResponse makes up one of its own
    return response


@needs(Ability.MANAGE_IMAGES)
@require_http_methods(["GET", "POST"])
def image_delete(request: HtmxRequest, image_id: UUID) -> HttpResponse:
    """Ask (for browsers without scripts, which cannot show a dialog), then delete for good."""
    found = find_image(request, image_id)
    if request.method == "GET":
        return render(request, "generation/image_delete.html", {"image": found})
    services.delete_image(found, actor=request.user)
    if request.htmx:
        return render(request, "generation/_image_deleted.html", {"toast": "Deleted."})
    messages.success(request, "Deleted.")
    return redirect("generation:gallery")


def find_image(request: HtmxRequest, image_id: UUID) -> Image:
    """A picture of the person's team. Raises Http404: not there, or not theirs."""
    found = queries.image_of(request.team, image_id)
    if found is None:
        raise Http404("There is no such picture.")
    return found


def file_name(image: Image) -> str:
    """A name to save a picture under: the first words of its prompt, in plain ASCII."""
    words = re.findall(r"[a-z0-9]+", image.job.prompt.lower())[:NAME_WORDS_MAX]
    return "-".join(["tenkaigen", *words, str(image.seed)])[:100] + PurePosixPath(image.key).suffix
