"""What the admin pages of all apps share. The admin is for looking; what it does, services do."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from tenkaigen.errors import DomainError

ROWS_PER_ACTION_MAX = 200
REFUSALS_SHOWN_MAX = 10
admin.site.site_header = admin.site.site_title = settings.SITE_NAME


class LookAdmin(admin.ModelAdmin):
    """Rows to look at: no add, no change, no delete for anyone. A whole UUID is looked up, not searched for."""

    show_full_result_count = False
    search_ids: ClassVar[tuple[str, ...]] = ()  # fields that are compared with a UUID somebody pasted

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields or ()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        found = Q()
        for field in self.search_ids:
            found |= Q(**{field: wanted})
        return (queryset.filter(found) if found else queryset.none()), False


class OneByOneAdmin(LookAdmin):
    """Rows with actions. Whoever may change the model may act; each act is one service call and one log line."""

    def has_act_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))

    def one_by_one(
        self, request: HttpRequest, rows: Iterable[Model], act: Callable[[Any], object], did_what: str
    ) -> None:
        """Call a service for each row; refusals become messages and stop nothing."""
        done, refusals = 0, []
        for row in list(rows)[:ROWS_PER_ACTION_MAX]:
            try:
                act(row)
            except DomainError as error:
                refusals.append(f"{row.pk}: {error}")
                continue
            done += 1
            self.log_change(request, row, did_what)
        for text in refusals[:REFUSALS_SHOWN_MAX]:
            self.message_user(request, text, messages.WARNING)
        if len(refusals) > REFUSALS_SHOWN_MAX:
            self.message_user(request, f"{len(refusals) - REFUSALS_SHOWN_MAX} more were refused.", messages.WARNING)
        if done:
            self.message_user(request, f"{did_what}: {done}.", messages.SUCCESS)


def link_to(row: Model | None, text: str = "") -> str:
    """A link to a row's admin page."""
    if row is None:
        return "-"
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[row.pk]), text or str(row))


def link_to_list(model: type[Model], text: str, **lookups: object) -> str:
    """A link to a model's admin list, narrowed by lookups."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return format_html('<a href="{}">{}</a>', reverse(name, query=lookups), text)
