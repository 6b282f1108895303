"""The pictures a model learns from: sent as files, in a zip or by their addresses; captioned, and taken away."""

from collections.abc import Callable
from typing import BinaryIO, NamedTuple, cast
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, trigger_client_event

from accounts.access import needs
from accounts.roles import Ability
from credits.plans import limits_of
from generation.custom import pictures, queries
from generation.custom.pictures import Added
from generation.custom.rules import CONSENT, pictures_max
from generation.errors import PictureRefused
from generation.forms_models import UrlsForm
from generation.models import CustomModel, TrainingImage
from generation.training_limits import (
    CAPTION_CHARS_MAX,
    PICTURES_MIN,
    UPLOAD_BYTES_MAX,
    UPLOADS_MAX,
    URLS_MAX,
    ZIP_BYTES_MAX,
)
from generation.views.model_files import lead_to
from generation.views.model_wizard import is_past_drafting, steps_context
from generation.views.models import find_model
from generation.views.uploads import MEGABYTE, PLAIN, is_zip, takes_files
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status

VARIANTS = {"original": "key", "thumbnail": "thumbnail_key"}


class Refusal(NamedTuple):
    """A file that was not taken, as the page lists it."""

    name: str
    reason: str


@needs(Ability.TRAIN)
@takes_files
@require_http_methods(["GET", "POST"])
def model_pictures(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """The pictures of a model, and three ways to send more of them."""
    found = find_model(request, model_id)
    if request.method == "GET":
        return _page(request, found, UrlsForm())
    form = UrlsForm(request.POST)
    if not form.is_valid():
        return _page(request, found, form, status=422)
    urls, files = form.addresses(), request.FILES.getlist("files")
    refused = [Refusal(*left_out) for left_out in request.left_out]  # type: ignore[attr-defined]
    if not (urls or files or refused):
        form.add_error(None, "Choose some pictures or a zip first, or write down their addresses.")
        return _page(request, found, form, status=422)
    try:
        count, problems = _take(found, request, files, urls)
    except DomainError as error:
        form.refuse(error)
        return _page(request, found, form, status=page_status(error), refused=refused)
    refused += problems
    return _page(request, found, UrlsForm(), status=422 if refused else 200, refused=refused, added=count)


@needs(Ability.TRAIN)
@takes_files
@require_POST
def picture_add(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Take the files that a script sends, one after the other, and answer in a sentence."""
    found, files = find_model(request, model_id), request.FILES.getlist("files")
    try:
        count, refused = _take(found, request, files, [])
    except DomainError as error:
        return HttpResponse(str(error), status=page_status(error), content_type=PLAIN)
    refused = [*(Refusal(*left_out) for left_out in request.left_out), *refused]  # type: ignore[attr-defined]
    if not (files or refused):
        return HttpResponse("There was no file in this upload.", status=422, content_type=PLAIN)
    words = [
        f"{count} added." if count else "",
        *(f"{name}: {reason}" if count else reason for name, reason in refused),
    ]
    return HttpResponse(" ".join(filter(None, words)), status=201 if count else 422, content_type=PLAIN)


@needs(Ability.TRAIN)
@require_GET
def pictures_grid(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """The pictures as they are now, for a page that has just sent some. A caption that is being written there stays."""
    found = find_model(request, model_id)
    return render(request, "generation/models/_grid.html", _grid(found) | {"is_refresh": True})


@needs(Ability.TRAIN)
@require_POST
def picture_remove(request: HtmxRequest, model_id: UUID, picture_id: UUID) -> HttpResponse:
    """Take a picture away; versions that learned from it stay as they are."""
    found = find_model(request, model_id)
    picture = find_picture(found, picture_id)
    response = _changed(request, found, lambda: pictures.remove(picture, actor=request.user))
    if not request.htmx:
        return response
    if response.status_code != 200:
        return reswap(response, "none")
    return trigger_client_event(HttpResponse(), "pictures-changed", after="settle")


@needs(Ability.TRAIN)
@require_POST
def picture_caption(request: HtmxRequest, model_id: UUID, picture_id: UUID) -> HttpResponse:
    """Keep what is said about a picture."""
    found = find_model(request, model_id)
    picture, problem, status = find_picture(found, picture_id), "", 200
    text = request.POST.get("caption", "")
    try:
        pictures.set_caption(picture, text, actor=request.user)
        picture.refresh_from_db(fields=["caption"])
    except DomainError as error:
        picture.caption, problem, status = text, str(error), page_status(error)
    if not request.htmx:
        return (
            redirect("generation:model_pictures", found.pk)
            if not problem
            else _page(request, found, UrlsForm(), status=status, refused=[Refusal("The caption", problem)])
        )
    context = {"model": found, "picture": picture, "problem": problem, "is_kept": not problem}
    return render(
        request, "generation/models/_caption.html", context | {"caption_chars_max": CAPTION_CHARS_MAX}, status=status
    )


@needs(Ability.TRAIN)
@require_POST
def captions_suggest(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Write a caption for every picture that has none."""
    found = find_model(request, model_id)
    return _changed(request, found, lambda: pictures.suggest_captions(found, actor=request.user))


@needs(Ability.READ)
@require_GET
def picture_file(request: HtmxRequest, model_id: UUID, picture_id: UUID, variant: str) -> HttpResponse:
    """A stable link to a training picture: checks the team, then leads to a short-lived one."""
    picture = find_picture(find_model(request, model_id), picture_id)
    if variant not in VARIANTS:
        raise Http404
    return lead_to(getattr(picture, VARIANTS[variant]))


def find_picture(found: CustomModel, picture_id: UUID) -> TrainingImage:
    """Raises Http404: not there, or of another model."""
    picture = queries.picture_of(found, picture_id)
    if picture is None:
        raise Http404("There is no such picture.")
    return picture


def _take(
    found: CustomModel, request: HtmxRequest, files: list[UploadedFile], urls: list[str]
) -> tuple[int, list[Refusal]]:
    """Store what can be learned from; how many pictures that was, and what was refused."""
    taken: list[Added] = []
    refused: list[Refusal] = []
    plain = [(file.name or "", cast(BinaryIO, file)) for file in files if not is_zip(file.name or "")]
    if plain:
        taken.append(pictures.add_files(found, user=request.user, files=plain))
    for file in files:
        if not is_zip(file.name or ""):
            continue
        try:
            taken.append(pictures.add_zip(found, user=request.user, file=cast(BinaryIO, file)))
        except PictureRefused as error:  # this zip; the rest of what was sent may be fine
            refused.append(Refusal(file.name or "", str(error)))
    if urls:
        taken.append(pictures.add_urls(found, user=request.user, urls=urls))
    refused += [Refusal(each.name, each.reason) for added in taken for each in added.refused]
    return sum(len(added.added) for added in taken), refused


def _changed(request: HtmxRequest, found: CustomModel, act: Callable[[], object]) -> HttpResponse:
    problem, status = "", 200
    try:
        act()
    except DomainError as error:
        problem, status = str(error), page_status(error)
    if request.htmx:
        context = {**_grid(found), "toast": problem, "toast_kind": "error"}
        return render(request, "generation/models/_grid_update.html", context, status=status)
    if problem:
        return _page(request, found, UrlsForm(), status=status, refused=[Refusal("Not done", problem)])
    return redirect("generation:model_pictures", found.pk)


def _grid(found: CustomModel) -> dict[str, object]:
    rows = list(queries.pictures_of(found))
    numbers = {picture.pk: number for number, picture in enumerate(rows, 1)}
    return {
        "model": found,
        "shown": [
            (picture, number, numbers.get(picture.like_id) if picture.like_id else None)
            for number, picture in enumerate(rows, 1)
        ],
        "likes": sum(picture.like_id in numbers for picture in rows),
        "pictures_min": PICTURES_MIN,
        "pictures_max": pictures_max(limits_of(found.team_id)),
        "caption_chars_max": CAPTION_CHARS_MAX,
        "has_empty_captions": any(not picture.caption for picture in rows),
    }


def _page(request: HtmxRequest, found: CustomModel, form: UrlsForm, status: int = 200, **more: object) -> HttpResponse:
    context = {
        **_grid(found),
        "form": form,
        "is_refining": is_past_drafting(found),
        "consent": CONSENT,
        "upload_bytes_max": UPLOAD_BYTES_MAX,
        "uploads_max": UPLOADS_MAX,
        "urls_max": URLS_MAX,
        "zip_bytes_max": ZIP_BYTES_MAX,
        "upload_mb_max": UPLOAD_BYTES_MAX // MEGABYTE,
        "zip_mb_max": ZIP_BYTES_MAX // MEGABYTE,
        **more,
    }
    if not context["is_refining"]:
        context |= steps_context(request.team, found, "pictures")
    return render(request, "generation/models/pictures.html", context, status=status)
