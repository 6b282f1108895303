"""Models of one's own: the list, the page of one, its samples. Drafts are in `model_wizard`, acts in `model_acts`."""

from uuid import UUID, uuid4

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET
from django_htmx.http import reswap, retarget

from accounts.access import may, needs
from accounts.models import Team
from accounts.roles import Ability
from credits.errors import PriceMissing
from credits.pricing import Ask, Creation, Quote
from generation import estimates
from generation.custom import queries, services
from generation.estimates import Estimate
from generation.forms_models import RefineForm, RenameForm
from generation.model_cards import ModelPage, TrainingWatch, about, cards_of, watch_of
from generation.models import CustomModel, Job
from generation.training_limits import PICTURES_MIN, steps_for
from generation.views.model_files import lead_to
from tenkaigen.htmx import HtmxRequest
from tenkaigen.paging import BadCursor

PICTURES_SHOWN = 12
ENDINGS = {
    Job.Status.COMPLETED: ("success", "Your model is ready to draw with."),
    Job.Status.FAILED: ("error", "The training failed. You were not charged."),
    Job.Status.CANCELED: ("info", "Canceled. You were not charged."),
}


@needs(Ability.READ)
@require_GET
def models(request: HtmxRequest) -> HttpResponse:
    """Every model of the team, drafts among them."""
    try:
        found = queries.models_page(request.team, request.GET.get("cursor"))
    except BadCursor:
        return redirect("generation:models")
    context = {"page": found, "cards": cards_of(found.items)}
    if not found.items:
        context |= {"least_estimate": least_estimate(request.team), "pictures_min": PICTURES_MIN}
    return render(request, "generation/models/list.html", context)


@needs(Ability.READ)
@require_GET
def models_more(request: HtmxRequest) -> HttpResponse:
    try:
        found = queries.models_page(request.team, request.GET.get("cursor"))
    except BadCursor as error:
        raise Http404(str(error)) from None
    return render(request, "generation/models/_tiles.html", {"page": found, "cards": cards_of(found.items)})


@needs(Ability.READ)
@require_GET
def model(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """The page of a model; of a draft, whoever may train is led to where it stands."""
    found = find_model(request, model_id)
    if found.is_draft and may(request, Ability.TRAIN):
        return redirect(f"generation:model_{next_step(found)}", found.pk)
    if found.is_draft:
        return render(request, "generation/models/draft.html", {"model": found})
    return render(request, "generation/models/model.html", body_of(request, found))


@needs(Ability.READ)
@require_GET
def model_training(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """What the page of a model that is being trained asks for again and again; a change brings the whole page."""
    found = find_model(request, model_id)
    newest = queries.versions_of(found).first()
    if newest is None or newest.job.is_over or newest.job.status != request.GET.get("shows"):
        kind, words = ENDINGS.get(Job.Status(newest.job.status), ("", "")) if newest else ("", "")
        return reswap(retarget(changed(request, found, kind, words), "#model"), "outerHTML")
    watch = watch_of(newest)
    context = {"model": found, "watch": watch, **_news(request, watch)}
    return render(request, "generation/models/_training_update.html", context)


@needs(Ability.READ)
@require_GET
def model_sample(request: HtmxRequest, model_id: UUID, number: int, index: int) -> HttpResponse:
    """A stable link to a sample picture of a version: checks the team, then leads to a short-lived one."""
    version = queries.version_of(find_model(request, model_id), number)
    if version is None or version.deleted_at or index >= len(version.samples):
        raise Http404("There is no such picture.")
    return lead_to(version.samples[index]["key"])


@needs(Ability.READ)
@require_GET
def model_cover(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """The first training picture, small."""
    found = find_model(request, model_id)
    if not found.cover_key:  # type: ignore[attr-defined]
        raise Http404("There is no such picture.")
    return lead_to(found.cover_key)  # type: ignore[attr-defined]


def find_model(request: HtmxRequest, model_id: UUID) -> CustomModel:
    """A model of the person's team. Raises Http404: not there, or not theirs."""
    found = queries.model_of(request.team, model_id)
    if found is None:
        raise Http404("There is no such model.")
    return found


def body_of(request: HtmxRequest, found: CustomModel, **more: object) -> dict[str, object]:
    """What the page of a submitted model shows."""
    shown, pictures = ModelPage(found), list(queries.pictures_of(found)[:PICTURES_SHOWN])
    usual = steps_for(found.pictures_count)  # type: ignore[attr-defined]
    context: dict[str, object] = {
        "model": found,
        "shown": shown,
        "pictures": pictures,
        "rename_form": RenameForm(initial={"name": found.name, "description": found.description}),
        "refine_form": RefineForm(initial={"request_key": uuid4().hex}, usual_steps=usual),
    }
    if may(request, Ability.TRAIN) and not shown.training:
        quote = _next_quote(found, is_refinement=bool(shown.lines))
        context["estimate"] = estimates.of(request.team, quote) if quote else None
        context["time"] = about(queries.estimate_seconds(found))
    return context | more


def changed(
    request: HtmxRequest, found: CustomModel, kind: str, words: str, status: int = 200, *, is_refresh: bool = True
) -> HttpResponse:
    """The page of a model after something was done to it: the part that changes, or the way back to the page.

    `is_refresh`: a new name that is being written there stays.
    """
    if not request.htmx:
        messages.add_message(request, messages.ERROR if kind == "error" else messages.SUCCESS, words)
        return redirect("generation:model", found.pk)
    context = body_of(request, find_model(request, found.pk), is_refresh=is_refresh)
    context |= {"toast": words, "toast_kind": kind}
    return render(request, "generation/models/_model_update.html", context, status=status)


def next_step(found: CustomModel) -> str:
    """Where the draft goes on: the first step that still misses something."""
    problems = services.problems_of(found)
    steps = (("reference", "look"), ("name", "name"), ("trigger_word", "name"), ("pictures", "pictures"))
    return next((step for field, step in steps if field in problems), "check")


def least_estimate(team: Team) -> Estimate | None:
    """What the smallest training of a simple look would cost; None where the price list has a hole."""
    return _priced(team, Creation(PICTURES_MIN))


def _priced(team: Team, ask: Ask) -> Estimate | None:
    try:
        return estimates.of_training(team, ask)
    except PriceMissing:
        return None


def _next_quote(found: CustomModel, *, is_refinement: bool) -> Quote | None:
    try:
        return services.quote_refinement(found) if is_refinement else services.quote_of(found)
    except PriceMissing:
        return None


def _news(request: HtmxRequest, watch: TrainingWatch) -> dict[str, bool]:
    """What of the page has changed since the last look: new samples, another quarter to say aloud."""
    return {
        "has_new_samples": request.GET.get("samples") != str(len(watch.version.samples)),
        "is_to_be_said": request.GET.get("said") != str(watch.quarter),
    }
