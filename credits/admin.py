"""Credits for staff: everything is visible, nothing is editable. Corrections are new grants, with a reason."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.utils.html import format_html

from credits.amounts import show
from credits.models import Entry, Grant, Hold, HoldPart, Wallet
from tenkaigen.admin import LookAdmin, link_to, link_to_list


def credits_column(name: str, title: str) -> Callable[[Any, Any], str]:
    """A column or field that shows hundredths as credits."""

    @admin.display(description=title, ordering=name)
    def column(self: Any, row: Any) -> str:
        return show(getattr(row, name))

    return column


class OfWalletAdmin(LookAdmin):
    """Rows that belong to a wallet."""

    actions = None
    list_select_related: ClassVar[tuple[str, ...]] = ("wallet__team",)

    @admin.display(ordering="wallet")
    def team(self, row: Any) -> str:
        return link_to(row.wallet, row.wallet.team.name)


@admin.register(Wallet)
class WalletAdmin(LookAdmin):
    actions = None
    list_display = ("team_name", "available", "held", "debt", "frozen_reason", "history")
    list_display_links = ("team_name",)
    list_select_related = ("team",)
    search_fields = ("team__name", "team__email")
    search_ids = ("team_id",)
    fields = ("team_link", "available", "held", "debt", "frozen_reason", "seq", "history")

    available = credits_column("available_centi", "available")
    held = credits_column("held_centi", "held")
    debt = credits_column("debt_centi", "debt")

    @admin.display(description="team", ordering="team__name")
    def team_name(self, wallet: Wallet) -> str:
        return wallet.team.name

    @admin.display(description="team")
    def team_link(self, wallet: Wallet) -> str:
        return link_to(wallet.team)

    @admin.display
    def history(self, wallet: Wallet) -> str:
        entries = link_to_list(Entry, "Entries", wallet__id__exact=wallet.pk)
        grants = link_to_list(Grant, "Grants", wallet__id__exact=wallet.pk)
        holds = link_to_list(Hold, "Holds", wallet__id__exact=wallet.pk)
        return format_html("{} {} {}", entries, grants, holds)


@admin.register(Grant)
class GrantAdmin(OfWalletAdmin):
    list_display = ("source_ref", "source", "team", "granted", "available", "held", "spent", "expires_at")
    list_filter = ("source",)
    search_fields = ("source_ref", "wallet__team__email")
    search_ids = ("wallet__team_id",)
    fields = (
        "team", "source", "source_ref", "granted", "available", "held", "spent", "expired", "revoked",
        "burn_rank", "effective_at", "expires_at", "created_at",
    )  # fmt: skip

    granted = credits_column("granted_centi", "granted")
    available = credits_column("available_centi", "available")
    held = credits_column("held_centi", "held")
    spent = credits_column("spent_centi", "spent")
    expired = credits_column("expired_centi", "expired")
    revoked = credits_column("revoked_centi", "revoked")


class HoldPartInline(admin.TabularInline):
    model = HoldPart
    fields = ("grant", "amount", "charged", "released")
    readonly_fields = fields
    can_delete = False

    amount = credits_column("amount_centi", "amount")
    charged = credits_column("charged_centi", "charged")
    released = credits_column("released_centi", "released")

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).select_related("grant")


@admin.register(Hold)
class HoldAdmin(OfWalletAdmin):
    list_display = ("reference", "team", "state", "amount", "charged", "released", "created_at")
    list_filter = ("state",)
    search_fields = ("wallet__team__email",)
    search_ids = ("reference", "wallet__team_id")
    fields = (
        "team", "reference", "state", "amount", "charged", "released", "quote", "entries",
        "expires_at", "created_at", "settled_at",
    )  # fmt: skip
    inlines = (HoldPartInline,)

    amount = credits_column("amount_centi", "amount")
    charged = credits_column("charged_centi", "charged")
    released = credits_column("released_centi", "released")

    @admin.display
    def entries(self, hold: Hold) -> str:
        return link_to_list(Entry, "Entries", q=hold.reference)


@admin.register(Entry)
class EntryAdmin(OfWalletAdmin):
    list_display = ("created_at", "team", "seq", "kind", "amount", "available_after", "held_after", "actor", "reason")
    list_filter = ("kind",)
    list_select_related = ("wallet__team", "grant", "hold")
    search_fields = ("wallet__team__email", "reason")
    search_ids = ("wallet__team_id", "hold__reference")
    ordering = ("-id",)
    fields = (
        "team", "seq", "kind", "amount", "available_after", "held_after", "grant_link", "hold_link",
        "actor", "reason", "created_at",
    )  # fmt: skip

    amount = credits_column("amount_centi", "amount")
    available_after = credits_column("available_after_centi", "available after")
    held_after = credits_column("held_after_centi", "held after")

    @admin.display(description="grant")
    def grant_link(self, entry: Entry) -> str:
        return link_to(entry.grant)

    @admin.display(description="hold")
    def hold_link(self, entry: Entry) -> str:
        return link_to(entry.hold)
