"""Buttons on the page of a row: each leads to a form, and the form to one service."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from credits.amounts import parse
from tenkaigen.admin import LookAdmin
from tenkaigen.errors import DomainError

Say = Callable[[HttpRequest, Any, dict[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that staff may do to a row. `do` calls a service and returns what to say afterwards."""

    name: str  # in the address
    title: str
    form: type[forms.Form]
    do: Say


class AmountField(forms.CharField):
    """Credits as a person writes them; hundredths when it is clean."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, **options)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if text in self.empty_values:
            return text
        try:
            return parse(str(text))
        except ValueError as error:
            raise forms.ValidationError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None

    def run_validators(self, value: Any) -> None:
        """A number has no length."""


class ActsAdmin(LookAdmin):
    """Rows with acts. Whoever may change the model may act; each act is one service call and one log line."""

    change_form_template = "admin/credits/change_form.html"
    acts: ClassVar[tuple[Act, ...]] = ()

    def has_act_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))

    def get_urls(self) -> list[Any]:
        pages = [self._url(act.name, partial(self.act_view, act=act)) for act in self.acts]
        return [*pages, *super().get_urls()]

    def buttons(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        """Titles and addresses, for who may press them."""
        if not self.has_act_permission(request):
            return []
        return [(act.title, self.address(act.name, row)) for act in self.acts]

    def address(self, name: str, row: Any) -> str:
        return reverse(f"admin:{self._url_name(name)}", args=[row.pk])

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        context = {"buttons": self.buttons(request, row) if row else []}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def act_view(self, request: HttpRequest, object_id: str, act: Act) -> HttpResponse:
        if not self.has_act_permission(request):
            raise PermissionDenied
        row = self.row(request, object_id)
        return act_page(self, request, act, row, title=f"{act.title}: {self.title_of(row)}")

    def row(self, request: HttpRequest, object_id: str) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    def title_of(self, row: Any) -> str:
        return str(row)

    def _url(self, name: str, view: Callable[..., HttpResponse]) -> Any:
        return path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=self._url_name(name))

    def _url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"


def act_page(
    model_admin: LookAdmin,
    request: HttpRequest,
    act: Act,
    row: Any = None,
    *,
    title: str,
    initial: dict[str, Any] | None = None,
    said_before: list[str] | None = None,
) -> HttpResponse:
    """Ask, act, say. A refusal stands in the form. Without a row `act.do` makes one and puts it into `made`."""
    form = act.form(request.POST if request.method == "POST" else None, initial=initial or {})
    if request.method == "POST" and form.is_valid():
        said = dict(form.cleaned_data)
        try:
            text = act.do(request, row, said)
        except DomainError as error:
            form.add_error(None, str(error))
        else:
            target: Model = said.get("made") or row
            model_admin.log_change(request, target, text)
            model_admin.message_user(request, text, messages.SUCCESS)
            name = f"admin:{target._meta.app_label}_{target._meta.model_name}_change"
            return HttpResponseRedirect(reverse(name, args=[target.pk]))
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "form": form,
        "row": row,
        "button": act.title,
        "said_before": said_before or [],
    }
    return TemplateResponse(request, "admin/credits/act.html", context)
