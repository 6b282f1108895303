"""The front door: a prompt, a style, a product."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.access import require
from accounts.roles import Ability
from generation import queries, services
from generation.forms import GenerateForm
from generation.views.drafts import keep_draft
from tenkaigen.errors import DomainError
from tenkaigen.htmx import page_status


@require_GET
def landing(request: HttpRequest) -> HttpResponse:
    return _page(request, GenerateForm())


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Begin: a stranger signs up first and finds the prompt in the studio, a member finds the job running there."""
    form = GenerateForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    if not request.user.is_authenticated:
        keep_draft(request, form)
        return redirect(f"{reverse('account_signup')}?{urlencode({'next': reverse('generation:studio')})}")
    try:
        require(request, Ability.GENERATE)
        services.submit_job(
            team=request.team,  # type: ignore[attr-defined]
            user=request.user,
            params=form.to_params(),
            request_key=form.cleaned_data["request_key"],
        )
    except DomainError as error:
        form.refuse(error)
        return _page(request, form, status=page_status(error))
    return redirect("generation:studio")


def _page(request: HttpRequest, form: GenerateForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "styles": list(queries.styles()), "products": list(queries.products())}
    return render(request, "generation/landing.html", context, status=status)
