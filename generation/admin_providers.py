"""Remote GPU providers for staff: rows to edit, by the names of their secrets; what was asked of them to look at."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from generation.models import Provider, RemoteRequest
from tenkaigen.admin import LookAdmin, link_to, link_to_list


class ProviderForm(forms.ModelForm):
    """Refuses the name of a secret that this server does not have. The secret itself is never shown or asked for."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for field in ("api_secret", "webhook_secret", "webhook_secret_next"):
            name = cleaned.get(field)
            if name and name not in settings.PROVIDER_SECRETS:
                self.add_error(field, f"Set PROVIDER_SECRET_{name} in the environment first.")
        return cleaned


class ProviderAdmin(admin.ModelAdmin):
    form = ProviderForm
    list_display = ("slug", "kind", "endpoint", "price_per_image", "is_active", "failures", "paused_until")
    search_fields = ("slug", "endpoint")
    show_full_result_count = False
    readonly_fields = ("id", "failures", "paused_until", "links")
    fields = (
        "slug", "kind", "endpoint", "status_url", "result_url", "serves", "result_hosts", "api_secret",
        "signature_scheme", "webhook_secret", "webhook_secret_next", "price_per_image", "deadline_seconds",
        "requests_max", "position", "is_active", "id", "failures", "paused_until", "links",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug", *self.readonly_fields) if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # its requests name it: switch it off

    @admin.display
    def links(self, provider: Provider) -> str:
        return link_to_list(RemoteRequest, "Requests", provider__id__exact=provider.pk)


class RemoteRequestAdmin(LookAdmin):
    list_display = ("short_id", "provider", "state", "job_link", "images", "attempts", "failure", "created_at")
    list_filter = ("state", "provider", "created_at")
    list_select_related = ("provider", "job")
    search_fields = ("provider_request_id",)
    search_ids = ("id", "job_id")
    search_help_text = "A request's or job's id, or the provider's own id of a request"
    ordering = ("-created_at", "-id")
    fields = (
        "provider", "job_link", "fence", "state", "failure", "request_key", "provider_request_id", "images",
        "price_per_image", "attempts", "polls", "created_at", "posted_at", "answered_at", "finished_at",
        "deadline_at", "next_poll_at",
    )  # fmt: skip

    @admin.display(description="request", ordering="id")
    def short_id(self, request: RemoteRequest) -> str:
        return str(request.id)[:8]

    @admin.display(description="job")
    def job_link(self, request: RemoteRequest) -> str:
        return link_to(request.job, str(request.job_id)[:8])


def register() -> None:
    """Called by `generation.admin`, which Django finds by its name."""
    pairs: dict[type[Model], Any] = {Provider: ProviderAdmin, RemoteRequest: RemoteRequestAdmin}
    for model, model_admin in pairs.items():
        admin.site.register(model, model_admin)
