"""Starting a pass."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404
from django.http.response import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods
from django_htmx.http import trigger_client_event

from accounts.access import needs
from accounts.roles import Ability
from credits import passes
from credits.models import Pass
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status


@needs(Ability.GENERATE)
@require_http_methods(["GET", "POST"])
def start_pass(request: HtmxRequest, pass_id: UUID) -> HttpResponse:
    """Ask, then start: its time begins at once. A pass that runs already stays as it is."""
    if request.method == "GET":
        one = get_object_or_404(Pass, pk=pass_id, team=request.team)
        return render(request, "credits/start_pass.html", {"pass": one})
    try:
        started = passes.activate(team=request.team, pass_id=pass_id, actor=request.user)
    except Pass.DoesNotExist:
        raise Http404("There is no such pass.") from None
    except DomainError as error:
        return _said(request, str(error), "error", page_status(error))
    assert started.grant and started.grant.expires_at
    return _said(request, f"Your {started.name} pass runs until {started.grant.expires_at:%H:%M} UTC.", "success", 200)


def _said(request: HtmxRequest, words: str, kind: str, status: int) -> HttpResponse:
    if not request.htmx:
        messages.add_message(request, messages.ERROR if kind == "error" else messages.SUCCESS, words)
        return redirect("credits:dashboard")
    response = render(request, "_toast_oob.html", {"toast": words, "toast_kind": kind}, status=status)
    return trigger_client_event(response, "balance-changed")
