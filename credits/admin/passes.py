"""Passes for staff: what is sold, to edit; what teams have, to look at; and one for a team, by hand."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from accounts.models import Team
from credits import passes, services
from credits.admin.acts import Act, act_page
from credits.admin.columns import actor_of
from credits.models import Pass, PassProduct
from tenkaigen.admin import LookAdmin, link_to


class IssueForm(forms.Form):
    team = forms.ModelChoiceField(
        Team.objects.all(), widget=AutocompleteSelect(Pass._meta.get_field("team"), admin.site)
    )
    product = forms.ModelChoiceField(PassProduct.objects.filter(is_active=True))
    reference = forms.CharField(
        max_length=services.TEXT_CHARS_MAX, help_text="Ticket or incident. The same one again gives nothing more."
    )


def issue(request: HttpRequest, row: None, said: dict[str, Any]) -> str:
    said["made"] = passes.issue(
        team=said["team"],
        product=said["product"],
        reference=f"staff:{said['reference']}",
        actor=actor_of(request),
    )
    return f"{said['made'].name} pass issued to {said['team']}."


@admin.register(Pass)
class PassAdmin(LookAdmin):
    actions = None
    list_display = ("name", "team_link", "images", "minutes", "issued_by", "created_at", "ends_at")
    list_select_related = ("team", "grant")
    list_filter = ("product",)
    search_fields = ("reference", "team__email", "team__name")
    search_ids = ("id", "team_id")
    ordering = ("-created_at",)
    fields = (
        "team_link", "product", "name", "reference", "images", "videos", "minutes", "side_px_max", "issued_by",
        "created_at", "grant_link", "ends_at",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(request.user.has_perm("credits.add_pass"))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        act = Act("add", "Issue a pass", IssueForm, issue)
        return act_page(self, request, act, title=act.title, initial={"team": request.GET.get("team")})

    @admin.display(description="team", ordering="team__name")
    def team_link(self, made: Pass) -> str:
        return link_to(made.team)

    @admin.display(description="grant")
    def grant_link(self, made: Pass) -> str:
        return link_to(made.grant)

    @admin.display(description="ends")
    def ends_at(self, made: Pass) -> Any:
        return made.grant.expires_at if made.grant else None


@admin.register(PassProduct)
class PassProductAdmin(admin.ModelAdmin):
    """What is sold from now on. What was issued stays what it was; a product is switched off, not deleted."""

    list_display = (
        "name",
        "slug",
        "price_cents",
        "currency",
        "images",
        "videos",
        "minutes",
        "side_px_max",
        "is_active",
    )
    search_fields = ("name", "slug")
    show_full_result_count = False
    fields = (
        "slug", "name", "price_cents", "currency", "images", "videos", "minutes", "side_px_max", "position",
        "is_active",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: PassProduct, form: Any, change: bool) -> None:
        passes.change_product(obj, actor=actor_of(request))
