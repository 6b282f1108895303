"""The studio: compose a request, see what it costs, watch it become pictures."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.access import needs
from accounts.roles import Ability
from credits import passes
from credits.errors import PriceMissing
from credits.queries import PassState, states_of
from generation import estimates, queries, services, wording
from generation.cards import card_of, cards_of
from generation.errors import InvalidParams, ModelNotReady
from generation.estimates import Estimate
from generation.forms import DRAWN_WITH, GenerateForm, settings_only
from generation.views.drafts import drop_draft, initial_of
from generation.views.picker import offer
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, form_again, page_status, say_when


@needs(Ability.READ)
@require_GET
def studio(request: HtmxRequest) -> HttpResponse:
    initial = {"request_key": uuid4().hex, **initial_of(request, request.team)}
    form = GenerateForm(initial=initial, team=request.team)
    return _page(request, form)


@needs(Ability.GENERATE)
@require_POST
def submit(request: HtmxRequest) -> HttpResponse:
    form = GenerateForm(request.POST, team=request.team)
    if not form.is_valid():
        return _refused(request, form, 422)
    try:
        job = services.submit_job(
            team=request.team,
            user=request.user,
            params=form.to_params(),
            request_key=form.cleaned_data["request_key"],
            at_most_centi=form.cleaned_data["shown_centi"],
        )
    except DomainError as error:
        form.refuse(error)
        return say_when(_refused(request, form, page_status(error)), error)
    drop_draft(request)
    if not request.htmx:
        return redirect("generation:job", job.id)
    context = {
        "card": card_of(job, request.user),
        "next_request_key": uuid4().hex,
        "estimate": _estimate(request, request.POST),
        "passes": _passes(request),
        "toast": "On its way.",
    }
    return render(request, "generation/_submitted.html", context, status=201)


@needs(Ability.READ)
@require_POST
def quote(request: HtmxRequest) -> HttpResponse:
    """What the request would cost with the settings as they are now."""
    return render(request, "generation/_quote.html", {"estimate": _estimate(request, request.POST)})


@needs(Ability.GENERATE)
@require_POST
def expand(request: HtmxRequest) -> HttpResponse:
    """What the model would read. A text the person has edited is kept until they ask for a new one."""
    form = GenerateForm(request.POST, team=request.team)
    if form.is_edited and "anew" not in request.POST:
        return render(request, "generation/_expansion.html", {"form": form, "text": form["expanded_prompt"].value()})
    if not form.is_valid():
        return render(request, "generation/_expansion.html", {"form": form, "problem": form.first_error()}, status=422)
    try:
        made = wording.suggest_prompt(
            team=request.team, params=replace(form.to_params(), expand=True, expanded_prompt="")
        )
    except DomainError as error:
        context = {"form": form, "problem": str(error)}
        return render(request, "generation/_expansion.html", context, status=page_status(error))
    return render(request, "generation/_expansion.html", {"form": form, "text": made.prompt, "made": made})


@needs(Ability.READ)
@require_POST
def model_settings(request: HtmxRequest) -> HttpResponse:
    """The settings that another model offers; what it does not offer falls back to its defaults."""
    names = ("quality", "drawn_with", *DRAWN_WITH)
    form = GenerateForm(initial={name: request.POST.get(name, "") for name in names}, team=request.team)
    return render(request, "generation/_model_chosen.html", {"form": form})


def _page(request: HtmxRequest, form: GenerateForm, status: int = 200) -> HttpResponse:
    jobs = queries.recent_jobs(request.team)
    context = {**_composer(request, form), "cards": cards_of(jobs, request.user), "passes": _passes(request)}
    return render(request, "generation/studio.html", context, status=status)


def _refused(request: HtmxRequest, form: GenerateForm, status: int) -> HttpResponse:
    if request.htmx:
        return form_again(request, "generation/_composer.html", _composer(request, form), status)
    return _page(request, form, status)


def _composer(request: HtmxRequest, form: GenerateForm) -> dict[str, object]:
    return {
        "form": offer(form, request.team),
        "styles": list(queries.styles()),
        "products": list(queries.products()),
        "estimate": _estimate(request, form.data if form.is_bound else form.initial),
    }


def _estimate(request: HtmxRequest, values: Mapping[str, object]) -> Estimate | None:
    """What settings cost and who would pay; None where they are not valid or have no price, and the form says why."""
    form = settings_only(values, request.team)
    try:
        return estimates.of_pictures(request.team, form.to_params()) if form.is_valid() else None
    except (InvalidParams, ModelNotReady, PriceMissing):
        return None


def _passes(request: HtmxRequest) -> list[PassState]:
    return states_of(passes.shown_to(request.team))
