"""Accounts for staff: look, and switch people on and off."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import admin_access, services
from accounts.models import Activity, ApiKey, Invitation, Membership, Team, User
from accounts.queries import uses_of
from tenkaigen.admin import LookAdmin, OneByOneAdmin, link_to, link_to_list


class TeamsInline(admin.TabularInline):
    """A person's teams, to get there."""

    model = Membership
    fields = readonly_fields = ("team_link", "role", "created_at")
    extra = 0
    can_delete = False
    verbose_name_plural = "teams"

    @admin.display(description="team")
    def team_link(self, membership: Membership) -> str:
        return link_to(membership.team)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("team", "user")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


admin.site.login = secure_admin_login(admin.site.login)  # type: ignore
admin_access.register()


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    ordering = ("-date_joined",)
    list_display = ("email", "name", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff", "is_demo")
    search_fields = ("email", "name")
    readonly_fields = ("date_joined", "last_login", "confirmed_at", "is_demo")
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("date_joined", "confirmed_at", "last_login", "is_demo")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return [TeamsInline] if obj else []

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.email = obj.email.lower()  # as a sign-up writes it, so that commands find it
        super().save_model(request, obj, form, change)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):
    list_display = ("name", "email", "created_at", "closed_at")
    list_filter = ("closed_at",)
    search_fields = ("name", "email")
    readonly_fields = ("id", "wallet_link", "activity_link", "created_at", "closed_at", "purged_at")
    inlines = (admin_access.MembershipInline,)
    show_full_result_count = False
    ordering = ("-created_at",)

    @admin.display(description="wallet")
    def wallet_link(self, team: Team) -> str:
        return link_to(getattr(team, "wallet", None), "Wallet")

    @admin.display(description="activity")
    def activity_link(self, team: Team) -> str:
        return link_to_list(Activity, "What was done", team__id__exact=team.pk)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        admin_access.save_members(self, request, formset)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # jobs and credits belong to it for ever


@admin.register(ApiKey)
class ApiKeyAdmin(OneByOneAdmin):
    list_display = (
        "name",
        "prefix",
        "team_link",
        "user",
        "scopes",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_select_related = ("team", "user")
    search_fields = ("name", "prefix", "team__name", "user__email")
    search_ids = ("id", "team_id")
    ordering = ("-created_at",)
    fields = (*list_display, "monthly_cap_centi", "spent_this_month_centi")
    actions = ("revoke",)

    @admin.display(description="team", ordering="team__name")
    def team_link(self, key: ApiKey) -> str:
        return link_to(key.team)

    @admin.display
    def spent_this_month_centi(self, key: ApiKey) -> int:
        return uses_of([key])[key.pk].spent_centi

    @admin.action(description="Revoke the selected keys", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        actor = admin_access.actor_of(request)
        self.one_by_one(
            request, queryset.filter(revoked_at=None), lambda key: services.revoke_api_key(key, actor=actor), "Revoked"
        )


@admin.register(Invitation)
class InvitationAdmin(LookAdmin):
    list_display = ("email", "team", "role", "invited_by", "sent_at", "expires_at", "accepted_at", "revoked_at")
    list_select_related = ("team", "invited_by")
    search_fields = ("email", "team__name")
    search_ids = ("id", "team_id")
    ordering = ("-created_at",)
    fields = (*list_display, "sent_count", "accepted_by", "created_at")


@admin.register(Activity)
class ActivityAdmin(LookAdmin):
    list_display = ("created_at", "actor", "verb", "target", "team_link")
    list_select_related = ("team",)
    list_filter = ("topic", "created_at")
    search_fields = ("actor", "target")
    search_ids = ("id", "team_id")
    ordering = ("-created_at", "-id")
    fields = ("created_at", "actor", "actor_user", "team_link", "verb", "target", "details")

    @admin.display(description="team", ordering="team__name")
    def team_link(self, line: Activity) -> str:
        return link_to(line.team)
