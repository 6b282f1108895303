"""From an idea to a training in four steps with an address each. The draft is kept with every one of them."""

from uuid import UUID, uuid4

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import needs
from accounts.models import Team
from accounts.roles import Ability
from credits.errors import PriceMissing
from credits.plans import limits_of
from generation import estimates
from generation.custom import drafts, queries, services
from generation.custom.rules import CONSENT, models_problem
from generation.estimates import Estimate
from generation.forms_models import CheckForm, LookForm, NameForm
from generation.model_cards import about
from generation.models import CustomModel, ReferenceModel
from generation.training_limits import steps_for
from generation.views.models import find_model
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, form_again, page_status, say_when

STEPS = (("look", "Look"), ("name", "Name"), ("pictures", "Pictures"), ("check", "Check"))
STEP_OF = {"reference": "look", "name": "name", "trigger_word": "name", "pictures": "pictures"}


@needs(Ability.TRAIN)
@require_http_methods(["GET", "POST"])
def model_new(request: HtmxRequest) -> HttpResponse:
    """Choose the look to start from. Only the choice makes a draft; one that was begun is offered again."""
    if request.method == "GET":
        form = LookForm(initial={"reference": request.GET.get("reference", "")})
        return _look_page(request, form, draft=queries.draft_of(request.team, request.user))
    form = LookForm(request.POST)
    if not form.is_valid() or (chosen := _reference(form)) is None:
        form.refuse(DomainError("Choose a look to start from."))
        return _look_page(request, form, status=422, draft=queries.draft_of(request.team, request.user))
    try:
        found = drafts.begin(team=request.team, user=request.user, reference=chosen)
    except DomainError as error:
        form.refuse(error)
        return _look_page(request, form, status=page_status(error), draft=None)
    return redirect("generation:model_name", found.pk)


@needs(Ability.TRAIN)
@require_http_methods(["GET", "POST"])
def model_look(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Choose another look for a draft."""
    found = find_model(request, model_id)
    if is_past_drafting(found):
        return redirect("generation:model", found.pk)
    if request.method == "GET":
        slug = found.reference.slug if found.reference else ""
        return _look_page(request, LookForm(initial={"reference": slug}), model=found)
    form = LookForm(request.POST)
    if form.is_valid() and _keep(found, request, form, **form.changes()):
        return redirect("generation:model_name", found.pk)
    return _look_page(request, form, status=422, model=found)


@needs(Ability.TRAIN)
@require_http_methods(["GET", "POST"])
def model_name(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """What it is called, and the word that calls it."""
    found = find_model(request, model_id)
    if is_past_drafting(found):
        return redirect("generation:model", found.pk)
    if request.method == "GET":
        values = {name: getattr(found, name) for name in ("name", "trigger_word", "description")}
        return _step(request, found, "name", {"form": NameForm(initial=values)})
    form = NameForm(request.POST)
    if form.is_valid() and _keep(found, request, form, **form.changes()):
        missing = {name: text for name, text in services.problems_of(found).items() if name in form.fields}
        if not missing:
            return redirect("generation:model_pictures", found.pk)
        for name, text in missing.items():
            form.add_error(name, text)
    return _step(request, found, "name", {"form": form}, status=422)


@needs(Ability.TRAIN)
@require_POST
def model_word(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Keep the trigger word as it is typed, and say whether it can be one."""
    found, form = find_model(request, model_id), NameForm({"trigger_word": request.POST.get("trigger_word", "")})
    is_kept = form.is_valid() and _keep(found, request, form, trigger_word=form.cleaned_data["trigger_word"])
    context = {"model": found, "form": form, "is_free": is_kept and bool(form.cleaned_data["trigger_word"])}
    return render(request, "generation/models/_word.html", context, status=200 if is_kept else 422)


@needs(Ability.TRAIN)
@require_http_methods(["GET", "POST"])
def model_check(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """What was chosen, what it costs and how long it takes; then the order."""
    found = find_model(request, model_id)
    if is_past_drafting(found):
        return redirect("generation:model", found.pk)
    if request.method == "GET":
        return _check_page(request, found, _check_form(found))
    form = _check_form(found, request.POST)
    if not form.is_valid() or not _keep(found, request, form, **form.settings()):
        return _check_page(request, found, form, 422)
    given = form.cleaned_data
    try:
        services.submit_training(
            found, user=request.user, request_key=given["request_key"], at_most_centi=given["shown_centi"]
        )
    except DomainError as error:
        form.refuse(error)
        return say_when(_check_page(request, found, form, page_status(error)), error)
    return redirect("generation:model", found.pk)


@needs(Ability.TRAIN)
@require_POST
def training_settings(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Keep the settings of the last step as they change, and say what they cost and how long they take."""
    found = find_model(request, model_id)
    form = _check_form(found, request.POST)
    status = 200 if form.is_valid() and _keep(found, request, form, **form.settings()) else 422
    return render(request, "generation/models/_order.html", _order(request, found, form), status=status)


def is_past_drafting(found: CustomModel) -> bool:
    """Whether it has a version, or is about to have one: then it is refined, not drafted."""
    is_open = queries.open_training(found) is not None
    return not found.is_draft and (is_open or queries.ready_versions(found).exists())


def steps_context(team: Team, found: CustomModel | None, here: str) -> dict[str, object]:
    """The steps of the wizard: where one is, which are done, and whether the plan has room at their end."""
    is_new = found is None or found.is_draft
    no_room = models_problem(team, limits_of(team.pk)) if is_new else ""
    problems = services.problems_of(found) if found else dict.fromkeys(STEP_OF, "")
    missing = {STEP_OF.get(name, "check") for name in problems}
    steps = [(name, words, name not in missing and name != "check") for name, words in STEPS]
    return {"steps": steps, "here": here, "problems": problems, "no_room": no_room}


def _keep(found: CustomModel, request: HtmxRequest, form: LookForm | NameForm | CheckForm, **fields: object) -> bool:
    """Save fields of the draft; what is wrong with them goes to the form."""
    try:
        kept = drafts.change(found, actor=request.user, **fields)
    except DomainError as error:
        form.refuse(error)
        return False
    for name in fields:
        setattr(found, name, getattr(kept, name))
    return True


def _reference(form: LookForm) -> ReferenceModel | None:
    slug = form.cleaned_data["reference"]
    return ReferenceModel.objects.filter(slug=slug, is_active=True).first() if slug else None


def _look_page(
    request: HtmxRequest,
    form: LookForm,
    status: int = 200,
    *,
    model: CustomModel | None = None,
    draft: CustomModel | None = None,
) -> HttpResponse:
    rows = list(ReferenceModel.objects.filter(is_active=True))
    shelves = [(shelf, [row for row in rows if row.category == shelf]) for shelf in ReferenceModel.Category]
    shelves = [(shelf, looks) for shelf, looks in shelves if looks]
    context = {
        "form": form,
        "model": model,
        "draft": draft,
        "shelves": shelves,
        **steps_context(request.team, model, "look"),
    }
    return render(request, "generation/models/look.html", context, status=status)


def _step(
    request: HtmxRequest, found: CustomModel, here: str, context: dict[str, object], status: int = 200
) -> HttpResponse:
    context = {"model": found, **steps_context(request.team, found, here), **context}
    return render(request, f"generation/models/{here}.html", context, status=status)


def _check_form(found: CustomModel, data: object = None) -> CheckForm:
    usual = steps_for(found.pictures_count)  # type: ignore[attr-defined]
    values = {name: getattr(found, name) for name in CheckForm.SETTINGS} | {"request_key": uuid4().hex}
    return CheckForm(data, initial=values, usual_steps=usual)


def _check_page(request: HtmxRequest, found: CustomModel, form: CheckForm, status: int = 200) -> HttpResponse:
    if status != 200 and request.htmx:
        context = {**steps_context(request.team, found, "check"), **_order(request, found, form)}
        return form_again(request, "generation/models/_check_form.html", context, status)
    return _step(request, found, "check", _order(request, found, form), status)


def _order(request: HtmxRequest, found: CustomModel, form: CheckForm) -> dict[str, object]:
    """The price, the time, and what still misses."""
    context: dict[str, object] = {"model": found, "form": form, "consent": CONSENT, "estimate": _estimate(found)}
    return context | {"time": about(queries.estimate_seconds(found)), "problems": services.problems_of(found)}


def _estimate(found: CustomModel) -> Estimate | None:
    try:
        return estimates.of(found.team, services.quote_of(found))
    except PriceMissing:
        return None
