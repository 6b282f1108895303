"""The account page: who you are, what is left, and the keys of your programs."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import queries, services
from accounts.access import needs
from accounts.forms import ApiKeyForm
from accounts.models import ApiKey
from accounts.roles import Ability
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status, signed_in


@signed_in
@require_GET
def account(request: HtmxRequest) -> HttpResponse:
    return _page(request, ApiKeyForm())


@needs(Ability.MANAGE_KEYS)
@require_POST
def create_key(request: HtmxRequest) -> HttpResponse:
    """Make a key. This answer is the only place that ever shows it, so it is no redirect."""
    form = ApiKeyForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    try:
        _, secret = services.create_api_key(team=request.team, user=request.user, **form.terms())
    except DomainError as error:
        form.add_error(None, str(error))
        return _page(request, form, status=page_status(error))
    return _page(request, ApiKeyForm(), status=201, secret=secret)


@needs(Ability.MANAGE_KEYS)
@require_http_methods(["GET", "POST"])
def revoke_key(request: HtmxRequest, key_id: UUID) -> HttpResponse:
    """Ask (for browsers without scripts, which cannot show a dialog), then stop the key for good."""
    key = _find_key(request, key_id)
    if request.method == "GET":
        return render(request, "accounts/revoke_key.html", {"key": key})
    services.revoke_api_key(key, actor=request.user)
    messages.success(request, f"The key {key.name} no longer works.")
    return redirect("accounts:account")


def _page(request: HtmxRequest, form: ApiKeyForm, status: int = 200, secret: str = "") -> HttpResponse:
    keys = list(queries.keys_of(request.team))
    uses = queries.uses_of(keys)
    context = {"form": form, "keys": [(key, uses[key.pk]) for key in keys], "secret": secret}
    return render(request, "accounts/account.html", context, status=status)


def _find_key(request: HtmxRequest, key_id: UUID) -> ApiKey:
    found = queries.keys_of(request.team).filter(id=key_id).first()
    if found is None:
        raise Http404("There is no such key.")
    return found
