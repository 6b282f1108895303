"""Jobs: the page of one, its card and progress, the list, and what a person may do with one."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget, trigger_client_event

from accounts.access import needs
from accounts.roles import Ability
from credits.queries import receipt_of
from generation import events, queries, services
from generation.cards import Watch, card_of
from generation.models import Job
from tenkaigen.early import answers_early
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status
from tenkaigen.paging import BadCursor

HISTORY_PAGE = 20
ON_PAGE = "page"
ENDINGS = {
    Job.Status.COMPLETED: ("success", "Your picture is ready."),
    Job.Status.FAILED: ("error", "A job failed. You were not charged."),
    Job.Status.CANCELED: ("info", "Canceled. You were not charged."),
}


@needs(Ability.READ)
@require_GET
def history(request: HtmxRequest) -> HttpResponse:
    """Every job, the failed ones too."""
    try:
        return render(request, "generation/history.html", _history(request))
    except BadCursor:
        return redirect("generation:history")


@needs(Ability.READ)
@require_GET
def history_more(request: HtmxRequest) -> HttpResponse:
    try:
        return render(request, "generation/_history_rows.html", _history(request))
    except BadCursor as error:
        raise Http404(str(error)) from None


@needs(Ability.READ)
@require_GET
def job(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    found = find_job(request, job_id)
    if found.kind != Job.Kind.IMAGE:  # a deleted model has no page, but its trainings have receipts
        model = queries.trained_model_of(found)
        return redirect("generation:model", model) if model else redirect("generation:receipt", job_id)
    card = card_of(found, request.user, place=ON_PAGE)
    return render(request, "generation/job.html", {"card": card, "job": card.job})


@needs(Ability.READ)
@require_GET
def receipt(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """What a job cost and why, to read and to print."""
    found = find_job(request, job_id)
    return render(request, "generation/receipt.html", {"job": found, "receipt": receipt_of(request.team, found.pk)})


@needs(Ability.READ)
@require_GET
def job_card(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    card = card_of(find_job(request, job_id), request.user, place=_place(request))
    return render(request, "generation/_job_card.html", {"card": card})


def unchanged_progress(request: HttpRequest, job_id: UUID) -> HttpResponse | None:
    """The answer from ticket and Redis alone, while the status is the one the card shows."""
    token = request.GET.get("token", "")
    progress = events.progress_for(token, job_id)
    if progress is None:
        return None
    watch = Watch(str(job_id), token, progress, _place(request))
    return HttpResponse(render_to_string("generation/_job_progress.html", {"watch": watch}))


@answers_early(unchanged_progress)
@needs(Ability.READ)
@require_GET
def job_progress(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """What a waiting card asks for again and again.

    Most of it is answered early. The rest, a dead Redis included, asks PostgreSQL; a change brings the whole card.
    """
    found = find_job(request, job_id)
    if not found.is_over and found.status == request.GET.get("shows"):
        watch = card_of(found, request.user, place=_place(request)).watch
        return render(request, "generation/_job_progress.html", {"watch": watch})
    response = _update(request, found, *(ENDINGS[Job.Status(found.status)] if found.is_over else ("", "")))
    return reswap(retarget(response, f"#job-{job_id}"), "outerHTML")


def known_preview(request: HttpRequest, job_id: UUID) -> HttpResponse | None:
    picture = events.preview_for(request.GET.get("token", ""), job_id)
    headers = {"Cache-Control": "private, max-age=60"}
    return HttpResponse(picture, content_type="image/webp", headers=headers) if picture else None


@answers_early(known_preview)
@require_GET
def preview(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """The rough picture of a job that is being drawn, for the holder of its card's ticket; nobody else comes by one."""
    raise Http404("There is no preview.")


@needs(Ability.GENERATE)
@require_POST
def cancel(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    found = find_job(request, job_id)
    try:
        found = services.cancel_job(found, actor=request.user)
    except DomainError as error:
        return _changed(request, found, "info", str(error), page_status(error))
    return _changed(request, found, *ENDINGS[Job.Status.CANCELED])


@needs(Ability.GENERATE)
@require_POST
def retry(request: HtmxRequest, job_id: UUID) -> HttpResponse:
    """Try a failed or canceled job again: the new card takes the place of the old one."""
    found = find_job(request, job_id)
    try:
        new = services.retry_job(found)
    except DomainError as error:
        return _changed(request, found, "error", str(error), page_status(error))
    if request.htmx and _place(request) == ON_PAGE:
        return HttpResponseClientRedirect(resolve_url("generation:job", new.id))
    return _changed(request, new, "success", "On its way again.")


def find_job(request: HtmxRequest, job_id: UUID) -> Job:
    """A job of the person's team. Raises Http404: not there, or not theirs."""
    found = queries.jobs_of(request.team).filter(id=job_id).first()
    if found is None:
        raise Http404("There is no such job.")
    return found


def _changed(request: HtmxRequest, changed: Job, kind: str, words: str, status: int = 200) -> HttpResponse:
    if request.htmx:
        return _update(request, changed, kind, words, status)
    messages.add_message(request, messages.ERROR if kind == "error" else messages.SUCCESS, words)
    return redirect("generation:job", changed.id)


def _update(request: HtmxRequest, changed: Job, kind: str, words: str, status: int = 200) -> HttpResponse:
    """A card, and what changes with it: balance, toast, and on its own page the details."""
    card = card_of(changed, request.user, place=_place(request))
    context = {"card": card, "job": changed, "toast": words, "toast_kind": kind}
    response = render(request, "generation/_job_update.html", context, status=status)
    if changed.is_over:
        trigger_client_event(response, "balance-changed", after="settle")
    return response


def _place(request: HttpRequest) -> str:
    return ON_PAGE if request.GET.get("on") == ON_PAGE else ""


def _history(request: HtmxRequest) -> dict[str, object]:
    status = request.GET.get("status", "")
    status = status if status in Job.Status.values else ""
    found = queries.job_page(request.team, request.GET.get("cursor"), status=status, size=HISTORY_PAGE)
    return {"page": found, "status": status, "statuses": Job.Status.choices}
