"""The credits page, the panel beside the studio, and notices."""

from django.http.response import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.access import needs
from accounts.roles import Ability
from credits import notices, passes, plans, queries
from credits.charts import burn_down
from credits.models import Notice
from tenkaigen.htmx import HtmxRequest


@needs(Ability.READ)
@require_GET
def dashboard(request: HtmxRequest) -> HttpResponse:
    """What there is, where it came from, what is set aside, and how it went. As many statements for any history."""
    team = request.team
    context = {
        "summary": queries.summary_of(team),
        "plan": plans.plan_of(team.pk),
        "grants": queries.grants_of(team),
        "holds": queries.pending_holds(team),
        "chart": burn_down(queries.days_of(team)),
        "passes": queries.states_of(passes.shown_to(team)),
    }
    return render(request, "credits/dashboard.html", context)


@needs(Ability.READ)
@require_GET
def panel(request: HtmxRequest) -> HttpResponse:
    """Balance and passes, for the side of the studio."""
    return render(request, "credits/_panel.html", {"passes": queries.states_of(passes.shown_to(request.team))})


@needs(Ability.GENERATE)
@require_POST
def dismiss_notice(request: HtmxRequest, notice_id: int) -> HttpResponse:
    """Put a notice away for the whole team. Again, it is away already."""
    if not notices.dismiss(team=request.team, notice_id=notice_id):
        get_object_or_404(Notice, pk=notice_id, wallet__team=request.team)
    return HttpResponse() if request.htmx else redirect("credits:dashboard")
