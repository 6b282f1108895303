"""Plans for staff: rows to edit, and a team to put on one."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from accounts.models import Team
from credits import plans
from credits.admin.acts import Act, AmountField, act_page
from credits.admin.columns import actor_of, credits_column
from credits.amounts import plain
from credits.models import Plan, Subscription
from tenkaigen.admin import LookAdmin, link_to


class PlanForm(forms.ModelForm):
    """Takes credits as people write them."""

    monthly_credits = AmountField(help_text="Counts from each team's next month on.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("monthly_credits", plain(self.instance.monthly_centi))

    def clean_monthly_credits(self) -> int:
        amount_centi = int(self.cleaned_data["monthly_credits"])
        if amount_centi < 0:
            raise forms.ValidationError("A plan grants nothing negative.")
        self.instance.monthly_centi = amount_centi
        return amount_centi


@admin.register(Plan)
class PlanAdmin(admin.ModelAdmin):
    """Limits count at once. A plan is switched off, not deleted, and the default one stays the default."""

    form = PlanForm
    list_display = (
        "name", "slug", "monthly", "concurrent_jobs", "queue_priority", "queue_cap", "requests_per_hour",
        "seconds_between", "is_active", "is_default",
    )  # fmt: skip
    search_fields = ("name", "slug")
    show_full_result_count = False
    fields = (
        "slug", "name", "description", "position", "is_active", "is_default", "monthly_credits", "concurrent_jobs",
        "queue_priority", "queue_cap", "requests_per_hour", "seconds_between", "models_max", "training_images_max",
        "model_storage_bytes",
    )  # fmt: skip

    monthly = credits_column("monthly_centi", "credits a month")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug", "is_default") if obj else ("is_default",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        plans.change(obj, actor=actor_of(request))


class SubscribeForm(forms.Form):
    team = forms.ModelChoiceField(
        Team.objects.all(), widget=AutocompleteSelect(Subscription._meta.get_field("team"), admin.site)
    )
    plan = forms.ModelChoiceField(
        Plan.objects.all(), help_text="Its first month is granted at once. The default plan ends what the team has."
    )


def subscribe(request: HttpRequest, row: None, said: dict[str, Any]) -> str:
    made = plans.subscribe(team=said["team"], plan=said["plan"], actor=actor_of(request))
    said["made"] = made or said["plan"]
    return f"{said['team']} is on {said['plan']}."


@admin.register(Subscription)
class SubscriptionAdmin(LookAdmin):
    actions = None
    list_display = ("team_name", "plan", "anchor_at", "ends_at", "grants_monthly", "external_ref")
    list_select_related = ("team", "plan")
    list_filter = ("plan", "grants_monthly")
    search_fields = ("team__email", "team__name", "external_ref")
    search_ids = ("team_id",)
    ordering = ("-id",)
    fields = (
        "team_link", "plan", "anchor_at", "ends_at", "grants_monthly", "external_ref", "created_at", "updated_at",
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(request.user.has_perm("credits.add_subscription"))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        act = Act("add", "Put a team on a plan", SubscribeForm, subscribe)
        return act_page(self, request, act, title=act.title, initial={"team": request.GET.get("team")})

    @admin.display(description="team", ordering="team__name")
    def team_name(self, subscription: Subscription) -> str:
        return subscription.team.name

    @admin.display(description="team")
    def team_link(self, subscription: Subscription) -> str:
        return link_to(subscription.team)
