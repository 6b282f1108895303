"""Price lists for staff: a draft is edited here, looked at, and published. What counts is never edited."""

from typing import Any

import structlog
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html_join

from credits import price_lists
from credits.admin.acts import Act, ActsAdmin, act_page
from credits.admin.columns import actor_of
from credits.models import PriceRule, PriceVersion
from credits.price_checks import problems_of
from tenkaigen.errors import DomainError

logger = structlog.get_logger(__name__)


class CopyForm(forms.Form):
    name = forms.CharField(max_length=price_lists.NAME_CHARS_MAX, help_text="Shown on receipts, for example 2027-01.")


class PublishForm(forms.Form):
    effective_at = forms.DateTimeField(
        required=False,
        help_text="UTC, for example 2027-01-01 00:00. Empty: from now on.",
        widget=forms.DateTimeInput(attrs={"placeholder": "2027-01-01 00:00"}),
    )


def copy(request: HttpRequest, version: PriceVersion, said: dict[str, Any]) -> str:
    said["made"] = price_lists.copy_as_draft(version, said["name"], actor=actor_of(request))
    return f"{said['made']} is a draft with the rules of {version}."


def publish(request: HttpRequest, version: PriceVersion, said: dict[str, Any]) -> str:
    published = price_lists.publish(version, actor=actor_of(request), effective_at=said["effective_at"])
    return f"{published} counts from {published.effective_at:%Y-%m-%d %H:%M} UTC."


def withdraw(request: HttpRequest, version: PriceVersion, said: dict[str, Any]) -> str:
    price_lists.withdraw(version, actor=actor_of(request))
    return f"{version} is a draft again."


COPY = Act("copy", "Copy as draft", CopyForm, copy)
PUBLISH = Act("publish", "Publish", PublishForm, publish)
WITHDRAW = Act("withdraw", "Withdraw", forms.Form, withdraw)
BUTTONS = {"draft": (COPY, PUBLISH), "planned": (COPY, WITHDRAW)}


class RuleInline(admin.TabularInline):
    model = PriceRule
    fields = ("name", "option", "up_to", "value")
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_edit(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_edit(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("credits.view_priceversion"))


@admin.register(PriceVersion)
class PriceVersionAdmin(ActsAdmin):
    actions = None
    acts = (COPY, PUBLISH, WITHDRAW)
    list_display = ("name", "state", "effective_at", "published_by", "note", "created_at")
    search_fields = ("name",)
    ordering = ("-effective_at",)
    fields = ("name", "note", "state", "effective_at", "published_by", "created_at", "problems")
    inlines = (RuleInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PriceVersion]:
        return price_lists.with_state(super().get_queryset(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields[2:] if _may_edit(request, obj) else self.fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_draft(obj) and bool(request.user.has_perm("credits.delete_priceversion"))

    def get_urls(self) -> list[Any]:
        return [self._url("preview", self.preview), *super().get_urls()]

    def buttons(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        shown = [("Preview", self.address("preview", row))]
        if self.has_act_permission(request):
            shown += [(act.title, self.address(act.name, row)) for act in BUTTONS.get(row.state, (COPY,))]
        return shown

    def act_view(self, request: HttpRequest, object_id: str, act: Act) -> HttpResponse:
        if not self.has_act_permission(request):
            raise PermissionDenied
        version = self.row(request, object_id)
        warnings = problems_of(version) if act is PUBLISH else []
        return act_page(self, request, act, version, title=f"{act.title}: {version}", said_before=warnings)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().change_view(request, object_id, form_url, extra_context)
        except DomainError as error:  # published while it was being edited
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: PriceVersion, form: Any, change: bool) -> None:
        price_lists.lock_draft(obj.pk)
        obj.save(update_fields=["name", "note"])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        logger.info("prices_edited", version=form.instance.name, actor=actor_of(request))

    def delete_model(self, request: HttpRequest, obj: PriceVersion) -> None:
        price_lists.lock_draft(obj.pk).delete()
        logger.info("prices_deleted", version=obj.name, actor=actor_of(request))

    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the last jobs would have cost."""
        version = self.row(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Preview: {version}",
            "opts": self.opts,
            "row": version,
            "problems": problems_of(version),
            "preview": price_lists.preview(version) if version.rules.exists() else None,
        }
        return TemplateResponse(request, "admin/credits/price_preview.html", context)

    @admin.display(ordering="effective_at")
    def state(self, version: Any) -> str:
        return str(version.state)

    @admin.display
    def problems(self, version: PriceVersion) -> str:
        sentences = problems_of(version)
        return format_html_join("", "<p>{}</p>", ((sentence,) for sentence in sentences)) if sentences else "none"


def _is_draft(version: Any) -> bool:
    return version is not None and version.effective_at is None


def _may_edit(request: HttpRequest, version: Any) -> bool:
    return _is_draft(version) and bool(request.user.has_perm("credits.change_priceversion"))
