"""All teams of a person: to switch between them, open another, restore a deleted one; and the invitations to more."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import queries, services
from accounts.forms import TeamForm
from accounts.models import Invitation
from accounts.session import choose_team, invitation_id, keep_invitation
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status, signed_in


@signed_in
@require_http_methods(["GET", "POST"])
def teams(request: HtmxRequest) -> HttpResponse:
    """Every team of the person. By POST another one is opened, and chosen."""
    if request.method == "GET":
        return _page(request, TeamForm())
    form = TeamForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    try:
        made = services.create_team(user=request.user, name=form.cleaned_data["name"])
    except DomainError as error:
        form.add_error(None, str(error))
        return _page(request, form, status=page_status(error))
    choose_team(request, made)
    messages.success(request, f"You are now in {made.name}.")
    return redirect("accounts:team")


@signed_in
@require_POST
def switch(request: HtmxRequest, team_id: UUID) -> HttpResponse:
    """Act for another team from now on, in this session."""
    place = next((one for one in request.memberships if one.team_id == team_id), None)
    if place is None:
        raise Http404("There is no such team.")
    choose_team(request, place.team)
    messages.success(request, f"You are now in {place.team.name}.")
    return redirect("generation:studio")


@signed_in
@require_POST
def restore(request: HtmxRequest, team_id: UUID) -> HttpResponse:
    closed = queries.closed_teams_of(request.user).filter(pk=team_id).first()
    if closed is None:
        raise Http404("There is no such team.")
    try:
        services.reopen_team(team=closed, actor=request.user)
    except DomainError as error:
        return _page(request, TeamForm(), problem=str(error), status=page_status(error))
    choose_team(request, closed)
    messages.success(request, f"{closed.name} is restored.")
    return redirect("accounts:team")


@require_GET
def open_invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """The link of the mail. The secret goes into the session, so that it stays out of further addresses and logs."""
    found = queries.find_invitation(secret)
    if found is None:
        return render(request, "accounts/invitation_gone.html", status=410)
    keep_invitation(request, found)
    return redirect("accounts:invitation")


@require_http_methods(["GET", "POST"])
def invitation(request: HtmxRequest) -> HttpResponse:
    """The invitation that was opened in this session. Strangers are asked to sign up or in, and come back here."""
    found = queries.open_invitation(invitation_id(request))
    if found is None:
        return render(request, "accounts/invitation_gone.html", status=410)
    if request.method == "GET" or not request.user.is_authenticated:
        return _invitation_page(request, found)
    try:
        place = services.accept_invitation(found, user=request.user, as_other_address="as_other" in request.POST)
    except DomainError as error:
        return _invitation_page(request, found, problem=str(error), status=page_status(error))
    keep_invitation(request, None)
    choose_team(request, place.team)
    messages.success(request, f"Welcome to {place.team.name}.")
    return redirect("generation:studio")


def _page(request: HtmxRequest, form: TeamForm, status: int = 200, **given: object) -> HttpResponse:
    closed = list(queries.closed_teams_of(request.user))
    return render(request, "accounts/teams.html", {"form": form, "closed": closed, **given}, status=status)


def _invitation_page(request: HtmxRequest, found: Invitation, status: int = 200, **given: object) -> HttpResponse:
    back = urlencode({"next": reverse("accounts:invitation")})
    is_known = request.user.is_authenticated
    context = {
        "invitation": found,
        "is_for_me": is_known and services.has_address(request.user, found.email),
        "sign_in": f"{reverse('account_login')}?{back}",
        "sign_up": f"{reverse('account_signup')}?{back}",
        **given,
    }
    return render(request, "accounts/invitation.html", context, status=status)
