"""The team page: its name, its members, who is invited; and how one leaves, hands over and deletes."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import mail, queries, services
from accounts.access import may, needs
from accounts.forms import GIVEN_ROLES, InvitationForm, RoleForm, TeamForm
from accounts.models import Invitation, Membership
from accounts.roles import Ability
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status


@needs(Ability.READ)
@require_GET
def team(request: HtmxRequest) -> HttpResponse:
    return _page(request)


@needs(Ability.MANAGE_TEAM)
@require_POST
def rename(request: HtmxRequest) -> HttpResponse:
    form = TeamForm(request.POST)
    if not form.is_valid():
        return _page(request, name_form=form, status=422)
    services.rename_team(team=request.team, name=form.cleaned_data["name"], actor=request.user)
    return _back(request, "The team has a new name.")


@needs(Ability.MANAGE_MEMBERS)
@require_POST
def invite(request: HtmxRequest) -> HttpResponse:
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _page(request, invitation_form=form, status=422)
    try:
        made, secret = services.invite(team=request.team, actor=request.user, **form.cleaned_data)
    except DomainError as error:
        form.add_error(None, str(error))
        return _page(request, invitation_form=form, status=page_status(error))
    return _sent(request, made, secret)


@needs(Ability.MANAGE_MEMBERS)
@require_POST
def resend(request: HtmxRequest, invitation_id: UUID) -> HttpResponse:
    found = _find_invitation(request, invitation_id)
    try:
        made, secret = services.resend_invitation(found, actor=request.user)
    except DomainError as error:
        return _refused(request, error)
    return _sent(request, made, secret)


@needs(Ability.MANAGE_MEMBERS)
@require_POST
def uninvite(request: HtmxRequest, invitation_id: UUID) -> HttpResponse:
    found = _find_invitation(request, invitation_id)
    services.revoke_invitation(found, actor=request.user)
    return _back(request, f"The invitation of {found.email} no longer works.")


@needs(Ability.MANAGE_MEMBERS)
@require_POST
def role(request: HtmxRequest, member_id: int) -> HttpResponse:
    member, form = _find_member(request, member_id), RoleForm(request.POST)
    if not form.is_valid():
        return _page(request, problem="There is no such role.", status=422)
    try:
        is_new = services.change_role(member=member, role=form.cleaned_data["role"], actor=request.user)
    except DomainError as error:
        return _refused(request, error)
    if is_new:
        mail.tell_role(member, form.cleaned_data["role"], actor=request.user)
    return _back(request, f"{member.user.email} has another role now.")


@needs(Ability.MANAGE_MEMBERS)
@require_http_methods(["GET", "POST"])
def remove(request: HtmxRequest, member_id: int) -> HttpResponse:
    member = _find_member(request, member_id)
    if request.method == "GET":
        return _ask(
            request,
            title=f"Remove {member.user.email}?",
            words="Their keys for this team stop at once. What they made stays with the team.",
            button="Remove",
        )
    try:
        services.remove_member(member=member, actor=request.user)
    except DomainError as error:
        return _refused(request, error)
    mail.tell_removed(member.user, member.team, actor=request.user)
    return _back(request, f"{member.user.email} is no longer in the team.")


@needs(Ability.READ)
@require_http_methods(["GET", "POST"])
def leave(request: HtmxRequest) -> HttpResponse:
    if request.method == "GET":
        words = "Your keys for this team stop at once. To come back, you need an invitation."
        return _ask(request, title=f"Leave {request.team.name}?", words=words, button="Leave")
    try:
        services.leave_team(request.membership)
    except DomainError as error:
        return _refused(request, error)
    messages.success(request, f"You have left {request.team.name}.")
    return redirect("accounts:teams")


@needs(Ability.DELETE_TEAM)
@require_http_methods(["GET", "POST"])
def transfer(request: HtmxRequest, member_id: int) -> HttpResponse:
    member = _find_member(request, member_id)
    if request.method == "GET":
        return _ask(
            request,
            title=f"Make {member.user.email} the owner?",
            words="They can then delete the team and remove you from it. You become an admin.",
            button="Hand it over",
        )
    try:
        is_new = services.transfer_team(team=request.team, to=member, actor=request.user)
    except DomainError as error:
        return _refused(request, error)
    if is_new:
        mail.tell_role(member, Membership.Role.OWNER, actor=request.user)
    return _back(request, f"{member.user.email} owns the team now.")


@needs(Ability.DELETE_TEAM)
@require_http_methods(["GET", "POST"])
def close(request: HtmxRequest) -> HttpResponse:
    if request.method == "GET":
        return _ask(
            request,
            title=f"Delete {request.team.name}?",
            words="Nobody can use it any more, its keys stop and its open jobs are canceled. "
            f"For {settings.GRACE_DAYS} days you can restore it; then its pictures are deleted for good.",
            button="Delete the team",
        )
    services.close_team(team=request.team, actor=request.user)
    messages.success(request, f"{request.team.name} is deleted. You can restore it for {settings.GRACE_DAYS} days.")
    return redirect("accounts:teams")


def _page(request: HtmxRequest, status: int = 200, **given: object) -> HttpResponse:
    context = {
        "members": list(queries.members_of(request.team)),
        "invitations": list(queries.open_invitations(request.team)) if may(request, Ability.MANAGE_MEMBERS) else [],
        "roles": GIVEN_ROLES,
        "name_form": TeamForm(initial={"name": request.team.name}),
        "invitation_form": InvitationForm(),
        **given,
    }
    return render(request, "accounts/team.html", context, status=status)


def _ask(request: HtmxRequest, **question: str) -> HttpResponse:
    return render(request, "accounts/question.html", {"back": reverse("accounts:team"), **question})


def _sent(request: HtmxRequest, invitation: Invitation, secret: str) -> HttpResponse:
    """Send the link. A server that sends no mail shows it instead, once, for the inviter to hand over."""
    link = request.build_absolute_uri(reverse("accounts:open_invitation", args=[secret]))
    if settings.MAIL_IS_SHOWN:
        return _page(request, shown_link=link, invited=invitation, status=201)
    if not mail.send_invitation(invitation, link):
        problem = f"The mail to {invitation.email} could not be sent. Send it again in a minute."
        return _page(request, problem=problem, status=409)
    return _back(request, f"An invitation is on its way to {invitation.email}.")


def _refused(request: HtmxRequest, error: DomainError) -> HttpResponse:
    return _page(request, problem=str(error), status=page_status(error))


def _back(request: HtmxRequest, words: str) -> HttpResponse:
    messages.success(request, words)
    return redirect("accounts:team")


def _find_member(request: HtmxRequest, member_id: int) -> Membership:
    found = queries.members_of(request.team).filter(pk=member_id).first()
    if found is None:
        raise Http404("There is no such member.")
    return found


def _find_invitation(request: HtmxRequest, invitation_id: UUID) -> Invitation:
    found = queries.open_invitations(request.team).filter(pk=invitation_id).first()
    if found is None:
        raise Http404("There is no such invitation.")
    return found
