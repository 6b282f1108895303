"""Credits for staff: everything is visible, nothing is editable. Corrections are new grants, with a reason."""

from django.contrib import admin
from django.http import HttpRequest

from credits.models import Entry, Grant, Hold, Wallet


class ReadOnlyAdmin(admin.ModelAdmin):
    """No add, change or delete for anyone."""

    show_full_result_count = False
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = ("team", "available_centi", "held_centi", "debt_centi", "frozen_reason")
    list_select_related = ("team",)
    search_fields = ("team__name", "team__email", "=team__id")


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    list_display = ("wallet", "source", "source_ref", "granted_centi", "available_centi", "spent_centi", "expires_at")
    list_select_related = ("wallet",)
    list_filter = ("source",)
    search_fields = ("source_ref", "wallet__team__email", "=wallet__team__id")


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    list_display = ("reference", "wallet", "state", "amount_centi", "charged_centi", "released_centi", "created_at")
    list_select_related = ("wallet",)
    list_filter = ("state",)
    search_fields = ("=reference", "wallet__team__email")


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "wallet", "seq", "kind", "amount_centi", "available_after_centi", "actor", "reason")
    list_select_related = ("wallet",)
    list_filter = ("kind",)
    search_fields = ("wallet__team__email", "=wallet__team__id", "=hold__reference")
    ordering = ("-id",)
