"""Who gets into what, for staff: members of teams, and the second step of a person. What it does, services do."""

import importlib
from functools import partial
from typing import Any

from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import mail, services
from accounts.models import Membership, Team, User
from tenkaigen.admin import OneByOneAdmin, link_to
from tenkaigen.errors import DomainError

Role = Membership.Role


class MembershipForm(forms.ModelForm):
    """An owner stays: only they hand their team over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "role" not in self.fields:
            return  # for who may only look
        if self.instance.role == Role.OWNER:
            self.fields["role"].disabled = True
        else:
            self.fields["role"].choices = [choice for choice in Role.choices if choice[0] != Role.OWNER]  # type: ignore


class MembershipInline(admin.TabularInline):
    """A team's members: another role, or out. In come those whom the team invites."""

    model = Membership
    form = MembershipForm
    fields = ("person", "role", "created_at")
    readonly_fields = ("person", "created_at")
    extra = 0

    @admin.display
    def person(self, member: Membership) -> str:
        return link_to(member.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("team", "user").order_by("created_at", "pk")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def save_members(model_admin: admin.ModelAdmin, request: HttpRequest, formset: Any) -> None:
    """What staff changed in the inline, by the services. A refusal becomes a message and stops nothing."""
    formset.save(commit=False)
    actor = actor_of(request)
    for member in formset.deleted_objects:
        _try(model_admin, request, partial(_remove, member, actor))
    for member, _ in formset.changed_objects:
        _try(model_admin, request, partial(_change_role, member, actor))


def actor_of(request: HttpRequest) -> str:
    """How the log names whoever is signed in to the admin."""
    return f"staff:{request.user.email}"  # type: ignore[union-attr]


def _try(model_admin: admin.ModelAdmin, request: HttpRequest, act: partial[None]) -> None:
    try:
        act()
    except DomainError as error:
        model_admin.message_user(request, str(error), messages.ERROR)


def _remove(member: Membership, actor: str) -> None:
    person, team = member.user, Team.objects.get(pk=member.team_id)
    services.remove_member(member=member, actor=actor)
    transaction.on_commit(lambda: mail.tell_removed(person, team, actor=actor), robust=True)


def _change_role(member: Membership, actor: str) -> None:
    role = member.role
    if services.change_role(member=member, role=role, actor=actor):
        transaction.on_commit(lambda: mail.tell_role(member, role, actor=actor), robust=True)


class AuthenticatorAdmin(OneByOneAdmin):
    """Which people have a second step, to switch it off for who lost phone and codes. Its secrets are not shown."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    list_filter = ("type",)
    search_fields = ("user__email", "user__name")
    ordering = ("-created_at", "-pk")
    fields = ("user", "type", "created_at", "last_used_at")
    actions = ("switch_off",)

    def has_act_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("mfa.delete_authenticator"))

    @admin.action(description="Switch the second step off, with its recovery codes", permissions=["act"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[Authenticator]) -> None:
        act = partial(_switch_off, actor=actor_of(request))
        self.one_by_one(request, queryset.select_related("user"), act, "Switched off")


def _switch_off(authenticator: Authenticator, *, actor: str) -> None:
    person: User = authenticator.user
    if services.switch_second_step_off(person, actor=actor):
        mail.tell_second_step_off(person)


def register() -> None:
    """Called by `accounts.admin`, which Django finds by its name."""
    importlib.import_module("allauth.mfa.admin")  # registers its own page, which writes past the services
    admin.site.unregister(Authenticator)
    admin.site.register(Authenticator, AuthenticatorAdmin)
