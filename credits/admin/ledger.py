"""The ledger for staff: wallets with what may be done to them; grants, holds and entries to look at, never to edit."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from credits import plans, services
from credits.admin.acts import Act, ActsAdmin, AmountField
from credits.admin.columns import actor_of, credits_column
from credits.models import Clawback, Entry, Grant, Hold, HoldPart, Notice, Pass, Uncollected, Wallet
from tenkaigen.admin import LookAdmin, link_to, link_to_list


class AdjustForm(forms.Form):
    amount = AmountField(help_text="Credits, for example 25. With a minus they are taken away.")
    reference = forms.CharField(
        max_length=services.TEXT_CHARS_MAX, help_text="Ticket or incident. The same one again does nothing."
    )
    reason = forms.CharField(max_length=services.TEXT_CHARS_MAX, help_text="The team reads it on its statement.")


class FreezeForm(forms.Form):
    reason = forms.CharField(max_length=services.TEXT_CHARS_MAX, help_text="The team reads it: a disputed payment.")


def adjust(request: HttpRequest, wallet: Wallet, said: dict[str, Any]) -> str:
    amount_centi = said["amount"]
    services.adjust(
        team=wallet.team,
        amount_centi=amount_centi,
        reference=said["reference"],
        actor=actor_of(request),
        reason=said["reason"],
    )
    return f"Adjusted under {said['reference']}."


def freeze(request: HttpRequest, wallet: Wallet, said: dict[str, Any]) -> str:
    services.freeze(team=wallet.team, reason=said["reason"], actor=actor_of(request))
    return "Frozen."


def unfreeze(request: HttpRequest, wallet: Wallet, said: dict[str, Any]) -> str:
    services.unfreeze(team=wallet.team, actor=actor_of(request))
    return "Not frozen any more."


class OfWalletAdmin(LookAdmin):
    """Rows that belong to a wallet."""

    actions = None
    list_select_related: ClassVar[tuple[str, ...]] = ("wallet__team",)

    @admin.display(ordering="wallet")
    def team(self, row: Any) -> str:
        return link_to(row.wallet, row.wallet.team.name)


@admin.register(Wallet)
class WalletAdmin(ActsAdmin):
    actions = None
    acts = (
        Act("adjust", "Adjust the credits", AdjustForm, adjust),
        Act("freeze", "Freeze", FreezeForm, freeze),
        Act("unfreeze", "Unfreeze", forms.Form, unfreeze),
    )
    list_display = ("team_name", "available", "held", "debt", "frozen_reason", "history")
    list_display_links = ("team_name",)
    list_select_related = ("team",)
    search_fields = ("team__name", "team__email")
    search_ids = ("team_id",)
    fields = ("team_link", "plan", "available", "held", "debt", "frozen_reason", "seq", "history", "more")

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
    def plan(self, wallet: Wallet) -> str:
        return plans.plan_of(wallet.team_id).name

    @admin.display
    def history(self, wallet: Wallet) -> str:
        entries = link_to_list(Entry, "Entries", wallet__id__exact=wallet.pk)
        grants = link_to_list(Grant, "Grants", wallet__id__exact=wallet.pk)
        holds = link_to_list(Hold, "Holds", wallet__id__exact=wallet.pk)
        return format_html("{} {} {}", entries, grants, holds)

    @admin.display
    def more(self, wallet: Wallet) -> str:
        notices = link_to_list(Notice, "Notices", wallet__id__exact=wallet.pk)
        passes = link_to_list(Pass, "Passes", team__id__exact=wallet.team_id)
        query = {"team": wallet.team_id}
        return format_html(
            '{} {} <a href="{}">Issue a pass</a> <a href="{}">Put it on a plan</a>',
            notices,
            passes,
            reverse("admin:credits_pass_add", query=query),
            reverse("admin:credits_subscription_add", query=query),
        )


@admin.register(Grant)
class GrantAdmin(OfWalletAdmin):
    list_display = ("source_ref", "source", "unit", "team", "granted", "available", "held", "spent", "expires_at")
    list_filter = ("source", "unit")
    search_fields = ("source_ref", "payment_ref", "wallet__team__email")
    search_ids = ("wallet__team_id",)
    fields = (
        "team", "source", "source_ref", "unit", "covers_px", "granted", "available", "held", "spent", "expired",
        "revoked", "burn_rank", "effective_at", "expires_at", "payment_ref", "created_at", "history",
    )  # fmt: skip

    granted = credits_column("granted_centi", "granted")
    available = credits_column("available_centi", "available")
    held = credits_column("held_centi", "held")
    spent = credits_column("spent_centi", "spent")
    expired = credits_column("expired_centi", "expired")
    revoked = credits_column("revoked_centi", "revoked")

    @admin.display
    def history(self, grant: Grant) -> str:
        entries = link_to_list(Entry, "Entries", grant__id__exact=grant.pk)
        return format_html("{} {}", entries, link_to_list(Clawback, "Clawbacks", grant__id__exact=grant.pk))


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
    list_display = ("reference", "team", "state", "amount", "charged", "released", "pass_images", "created_at")
    list_filter = ("state",)
    search_fields = ("wallet__team__email",)
    search_ids = ("reference", "wallet__team_id")
    fields = (
        "team", "reference", "state", "amount", "charged", "released", "pass_images", "pass_images_charged",
        "quote", "entries", "expires_at", "created_at", "settled_at",
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
        "team", "seq", "kind", "amount", "available_after", "held_after", "debt_after", "grant_link", "hold_link",
        "actor", "reason", "created_at",
    )  # fmt: skip

    amount = credits_column("amount_centi", "amount")
    available_after = credits_column("available_after_centi", "available after")
    held_after = credits_column("held_after_centi", "held after")
    debt_after = credits_column("debt_after_centi", "debt after")

    @admin.display(description="grant")
    def grant_link(self, entry: Entry) -> str:
        return link_to(entry.grant)

    @admin.display(description="hold")
    def hold_link(self, entry: Entry) -> str:
        return link_to(entry.hold)


@admin.register(Clawback)
class ClawbackAdmin(LookAdmin):
    actions = None
    list_display = ("reference", "team", "revoked", "owed", "created_at", "undone_at")
    list_select_related = ("grant__wallet__team",)
    search_fields = ("reference", "grant__wallet__team__email")
    search_ids = ("grant__wallet__team_id",)
    fields = ("team", "reference", "grant_link", "revoked", "owed", "created_at", "undone_at")

    revoked = credits_column("revoked_centi", "taken back")
    owed = credits_column("owed_centi", "made a debt")

    @admin.display(ordering="grant__wallet")
    def team(self, clawback: Clawback) -> str:
        return link_to(clawback.grant.wallet, clawback.grant.wallet.team.name)

    @admin.display(description="grant")
    def grant_link(self, clawback: Clawback) -> str:
        return link_to(clawback.grant)


@admin.register(Uncollected)
class UncollectedAdmin(LookAdmin):
    actions = None
    list_display = ("job", "team", "amount", "delivered", "created_at")
    list_select_related = ("hold__wallet__team",)
    search_fields = ("hold__wallet__team__email",)
    search_ids = ("hold__reference", "hold__wallet__team_id")
    fields = ("team", "hold_link", "amount", "delivered", "created_at")

    amount = credits_column("amount_centi", "not paid")

    @admin.display(ordering="hold")
    def job(self, owed: Uncollected) -> str:
        return owed.hold.job_id

    @admin.display(ordering="hold__wallet")
    def team(self, owed: Uncollected) -> str:
        return link_to(owed.hold.wallet, owed.hold.wallet.team.name)

    @admin.display(description="hold")
    def hold_link(self, owed: Uncollected) -> str:
        return link_to(owed.hold)


@admin.register(Notice)
class NoticeAdmin(OfWalletAdmin):
    list_display = ("created_at", "team", "kind", "text", "mailed_at", "seen_at")
    list_filter = ("kind",)
    search_fields = ("wallet__team__email",)
    search_ids = ("wallet__team_id",)
    ordering = ("-id",)
    fields = ("team", "kind", "key", "text", "created_at", "mailed_at", "seen_at")
