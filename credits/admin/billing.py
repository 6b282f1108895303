"""Billing for staff: what is sold and for how much, what was bought, and the inbox with its second chances."""

from typing import Any, ClassVar

from django import forms
from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from credits.admin.acts import AmountField
from credits.admin.columns import credits_column
from credits.amounts import plain
from credits.billing import inbox
from credits.models import (
    Dispute,
    Pack,
    PassPrice,
    Payment,
    PlanPrice,
    Purchase,
    Refund,
    StripeCustomer,
    StripeEvent,
    StripeSetup,
    Term,
)
from tenkaigen.admin import LookAdmin, OneByOneAdmin, link_to

# Of dj-stripe's some fifty pages, those that help to find out what happened. The others could change things at Stripe.
MIRROR_SHOWN = {"Customer", "Subscription", "Invoice", "WebhookEventTrigger"}


def hide_most_of_the_mirror() -> None:
    for model in apps.get_app_config("djstripe").get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)
    for model in apps.get_app_config("djstripe").get_models():
        if model.__name__ in MIRROR_SHOWN:
            admin.site.register(model, MirrorAdmin)


class MirrorAdmin(LookAdmin):
    """A copy of Stripe's: to look at."""

    actions = None
    ordering = ("-pk",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field.name for field in self.opts.concrete_fields if field.name != "headers"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)


def credits_form(field: str, label: str) -> type[forms.ModelForm]:
    """A form that takes hundredths as credits."""

    class CreditsForm(forms.ModelForm):
        credits = AmountField(label=label)

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.initial.setdefault("credits", plain(getattr(self.instance, field) or 0))

        def clean_credits(self) -> int:
            amount_centi = int(self.cleaned_data["credits"])
            if amount_centi < 0:
                raise forms.ValidationError("Nothing negative.")
            setattr(self.instance, field, amount_centi)
            return amount_centi

    return CreditsForm


class ShopAdmin(admin.ModelAdmin):
    """Rows of the shop are switched off, not deleted: somebody may have bought by them."""

    show_full_result_count = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(PlanPrice)
class PlanPriceAdmin(ShopAdmin):
    """The mapping of plans to prices at Stripe. What somebody pays by stays as it is; a new price is a new row."""

    form = credits_form("trial_centi", "Credits of the trial")
    list_display = ("plan", "interval", "price_cents", "currency", "stripe_price_id", "is_active", "trial_days")
    list_filter = ("plan", "interval", "is_active")
    list_select_related = ("plan",)
    search_fields = ("plan__name", "stripe_price_id")
    fields = (
        "plan", "interval", "price_cents", "currency", "stripe_price_id", "is_active", "trial_days", "credits",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        sold = ("plan", "interval", "price_cents", "currency", "stripe_price_id")
        return sold if obj and obj.stripe_price_id else ()


@admin.register(Pack)
class PackAdmin(ShopAdmin):
    form = credits_form("credit_centi", "Credits")
    list_display = ("name", "slug", "amount", "price_cents", "currency", "days", "is_active")
    search_fields = ("name", "slug")
    fields = (
        "slug", "name", "position", "is_active", "credits", "price_cents", "currency", "days", "stripe_price_id",
    )  # fmt: skip

    amount = credits_column("credit_centi", "credits")


@admin.register(PassPrice)
class PassPriceAdmin(ShopAdmin):
    list_display = ("product", "stripe_price_id")
    list_select_related = ("product",)
    search_fields = ("product__name", "stripe_price_id")
    fields = ("product", "stripe_price_id")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Without it the pass is sold at the price of its own row.
        return bool(request.user.has_perm("credits.delete_passprice"))


class OfTeamAdmin(LookAdmin):
    """Rows that belong to a team."""

    actions = None
    list_select_related: ClassVar[tuple[str, ...]] = ("team",)
    search_ids: ClassVar[tuple[str, ...]] = ("team_id",)

    @admin.display(description="team", ordering="team__name")
    def of_team(self, row: Any) -> str:
        return link_to(row.team, row.team.name)


@admin.register(StripeCustomer)
class StripeCustomerAdmin(OfTeamAdmin):
    list_display = ("customer_id", "of_team", "livemode", "created_at", "gone_at")
    search_fields = ("customer_id", "team__email")
    ordering = ("-id",)
    fields = ("customer_id", "of_team", "livemode", "created_at", "gone_at")


@admin.register(Purchase)
class PurchaseAdmin(OfTeamAdmin):
    list_display = ("name", "of_team", "state", "price_cents", "currency", "created_at", "paid_at")
    list_filter = ("kind", "state")
    search_fields = ("team__email", "payment_intent", "session_id")
    search_ids = ("id", "team_id")
    ordering = ("-created_at",)
    fields = (
        "of_team", "user", "kind", "slug", "name", "interval", "price_cents", "currency", "amount", "days", "state",
        "session_id", "payment_intent", "created_at", "paid_at",
    )  # fmt: skip

    amount = credits_column("credit_centi", "credits")


@admin.register(Payment)
class PaymentAdmin(OfTeamAdmin):
    list_display = ("payment_intent", "of_team", "amount_cents", "refunded_cents", "currency", "created_at")
    search_fields = ("payment_intent", "invoice_id", "team__email")
    ordering = ("-created_at",)
    fields = ("payment_intent", "of_team", "invoice_id", "amount_cents", "refunded_cents", "currency", "created_at")


class OfPaymentAdmin(LookAdmin):
    """Rows that belong to a payment."""

    actions = None
    list_select_related = ("payment",)
    ordering = ("-created_at",)

    @admin.display(description="payment")
    def of_payment(self, row: Any) -> str:
        return link_to(row.payment)


@admin.register(Refund)
class RefundAdmin(OfPaymentAdmin):
    list_display = ("refund_id", "of_payment", "amount_cents", "has_failed", "created_at", "updated_at")
    list_filter = ("has_failed",)
    search_fields = ("refund_id", "payment__payment_intent")
    fields = ("refund_id", "of_payment", "amount_cents", "has_failed", "created_at", "updated_at")


@admin.register(Dispute)
class DisputeAdmin(OfPaymentAdmin):
    list_display = ("dispute_id", "of_payment", "state", "amount_cents", "created_at", "updated_at")
    list_filter = ("state",)
    search_fields = ("dispute_id", "payment__payment_intent")
    fields = ("dispute_id", "of_payment", "state", "amount_cents", "created_at", "updated_at")


@admin.register(Term)
class TermAdmin(OfTeamAdmin):
    list_display = ("subscription_id", "of_team", "starts_at", "ends_at", "next_at")
    search_fields = ("subscription_id", "team__email")
    ordering = ("-id",)
    fields = ("subscription_id", "of_team", "starts_at", "ends_at", "next_at")


@admin.register(StripeSetup)
class StripeSetupAdmin(LookAdmin):
    actions = None
    list_display = ("livemode", "portal_configuration", "webhook_endpoint")
    fields = ("livemode", "portal_configuration", "webhook_endpoint")


@admin.register(StripeEvent)
class StripeEventAdmin(OneByOneAdmin):
    list_display = ("received_at", "type", "object_id", "processed_at", "attempts", "last_error")
    list_filter = ("type", ("processed_at", admin.EmptyFieldListFilter))
    search_fields = ("event_id", "object_id")
    ordering = ("-received_at",)
    fields = ("event_id", "type", "object_id", "received_at", "processed_at", "attempts", "due_at", "last_error")
    actions = ("try_again",)

    @admin.action(description="Try again", permissions=["act"])
    def try_again(self, request: HttpRequest, rows: QuerySet[StripeEvent]) -> None:
        self.one_by_one(request, rows, lambda event: inbox.retry(event.pk), "Will be tried again")


hide_most_of_the_mirror()
