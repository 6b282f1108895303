"""Accounts for staff: look, and switch people on and off."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

from accounts import services
from accounts.models import ApiKey, Membership, Team, User


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    ordering = ("-date_joined",)
    list_display = ("email", "name", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff", "is_demo")
    search_fields = ("email", "name")
    readonly_fields = ("date_joined", "last_login", "is_demo")
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("date_joined", "last_login", "is_demo")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):
    list_display = ("name", "email", "created_at")
    search_fields = ("name", "email", "=id")
    readonly_fields = ("id", "created_at")
    inlines = (MembershipInline,)
    show_full_result_count = False


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    list_display = ("name", "prefix", "team", "user", "created_at", "last_used_at", "revoked_at")
    search_fields = ("name", "prefix", "team__name", "user__email")
    list_select_related = ("team", "user")
    actions = ("revoke",)

    def has_add_permission(self, request) -> bool:
        return False  # a key is shown once, to the person who makes it

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    @admin.action(description="Revoke the selected keys", permissions=["view"])
    def revoke(self, request, queryset) -> None:
        revoked = sum(services.revoke_api_key(key) for key in queryset)
        self.message_user(request, f"{revoked} keys revoked.")
