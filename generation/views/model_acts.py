"""What people do with a trained model: cancel, try again, refine, choose a version, rename, delete."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import needs
from accounts.roles import Ability
from generation import services as jobs
from generation.custom import queries, services
from generation.errors import JobNotOver
from generation.forms_models import DeleteForm, OrderForm, RefineForm, RenameForm
from generation.model_cards import ModelPage
from generation.models import CustomModel, ModelVersion
from generation.training_limits import steps_for
from generation.views.models import body_of, changed, find_model
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status, say_when


@needs(Ability.TRAIN)
@require_POST
def model_cancel(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """End a training that waits or runs; its credits come back."""
    found = find_model(request, model_id)
    running = queries.open_training(found)
    if running is None:
        return changed(request, found, "info", "There is no training to cancel.", 409)
    return _done(
        request, found, lambda: jobs.cancel_job(running.job, actor=request.user), "Canceled. You were not charged."
    )


@needs(Ability.TRAIN)
@require_POST
def model_retry(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Order a training that failed or was canceled again, as it was."""
    found, form = find_model(request, model_id), OrderForm(request.POST)

    def order() -> None:
        failed = ModelPage(found).ended_badly
        if failed is None or not form.is_valid():
            raise JobNotOver("Only trainings that failed or were canceled can be tried again.")
        key, most = f"retry:{failed.job_id}", form.cleaned_data["shown_centi"]
        if failed.parent is None:
            services.submit_training(found, user=request.user, request_key=key, at_most_centi=most)
            return
        steps = failed.settings.get("steps")
        services.refine(
            found, user=request.user, request_key=key, parent=failed.parent, steps=steps, at_most_centi=most
        )

    return _done(request, found, order, "On its way again.")


@needs(Ability.TRAIN)
@require_POST
def model_refine(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Order the next version."""
    found = find_model(request, model_id)
    form = RefineForm(request.POST, usual_steps=steps_for(found.pictures_count))  # type: ignore[attr-defined]
    if not form.is_valid():
        return _refused(request, found, 422, refine_form=form)
    given = form.cleaned_data
    parent = queries.ready_versions(found).filter(pk=given["parent"]).first() if given["parent"] else None
    if given["parent"] and parent is None:
        form.add_error("parent", "This version is not there any more. Choose another.")
        return _refused(request, found, 422, refine_form=form)
    try:
        services.refine(
            found,
            user=request.user,
            request_key=given["request_key"],
            parent=parent,
            steps=given["steps"],
            at_most_centi=given["shown_centi"],
        )
    except DomainError as error:
        form.refuse(error)
        return say_when(_refused(request, found, page_status(error), refine_form=form), error)
    return changed(request, found, "success", "On its way.")


@needs(Ability.TRAIN)
@require_POST
def model_rename(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    found, form = find_model(request, model_id), RenameForm(request.POST)
    if not form.is_valid():
        return _refused(request, found, 422, rename_form=form)
    try:
        services.rename(found, actor=request.user, **form.changes())
    except DomainError as error:
        form.refuse(error)
        return _refused(request, found, page_status(error), rename_form=form)
    return changed(request, found, "success", "Saved.", is_refresh=False)


@needs(Ability.TRAIN)
@require_POST
def version_promote(request: HtmxRequest, model_id: UUID, number: int) -> HttpResponse:
    """Draw with this version from now on; an older one rolls back."""
    found = find_model(request, model_id)
    version = find_version(found, number)
    return _done(
        request,
        found,
        lambda: services.promote(found, version, actor=request.user),
        f"Version {number} is the one you draw with now.",
    )


@needs(Ability.TRAIN)
@require_http_methods(["GET", "POST"])
def version_delete(request: HtmxRequest, model_id: UUID, number: int) -> HttpResponse:
    """Ask (for browsers without scripts), then delete a version's files for good."""
    found = find_model(request, model_id)
    version = find_version(found, number)
    if request.method == "GET":
        return render(request, "generation/models/version_delete.html", {"model": found, "version": version})
    return _done(
        request,
        found,
        lambda: services.delete_version(found, version, actor=request.user),
        f"Version {number} is deleted.",
    )


@needs(Ability.TRAIN)
@require_http_methods(["GET", "POST"])
def model_delete(request: HtmxRequest, model_id: UUID) -> HttpResponse:
    """Say what goes and ask for the name; then delete model, versions and pictures for good."""
    found = find_model(request, model_id)
    form = DeleteForm(request.POST if request.method == "POST" else None, model=found)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                services.delete_model(found, actor=request.user)
            except DomainError as error:
                form.refuse(error)
                status = page_status(error)
            else:
                messages.success(request, f"{found.name or 'The draft'} is deleted.")
                return redirect("generation:models")
    context = {"model": found, "form": form, "versions": queries.ready_versions(found).count()}
    return render(request, "generation/models/delete.html", context, status=status)


def find_version(found: CustomModel, number: int) -> ModelVersion:
    """Raises Http404: not there, or deleted."""
    version = queries.version_of(found, number)
    if version is None or version.deleted_at:
        raise Http404("There is no such version.")
    return version


def _done(request: HtmxRequest, found: CustomModel, act: Callable[[], object], words: str) -> HttpResponse:
    """Do it and show the page; a refusal shows it, too, and says why."""
    try:
        act()
    except DomainError as error:
        return changed(request, found, "error", str(error), page_status(error))
    return changed(request, found, "success", words)


def _refused(request: HtmxRequest, found: CustomModel, status: int, **forms: object) -> HttpResponse:
    """The page with a form that says what is wrong with it."""
    name = "generation/models/_model.html" if request.htmx else "generation/models/model.html"
    return render(request, name, body_of(request, found, **forms), status=status)
