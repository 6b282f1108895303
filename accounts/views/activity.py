"""The activity page: who did what in the team, and when."""

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts import activity
from accounts.access import needs
from accounts.roles import Ability
from tenkaigen.htmx import HtmxRequest
from tenkaigen.paging import BadCursor


@needs(Ability.READ)
@require_GET
def team_activity(request: HtmxRequest) -> HttpResponse:
    try:
        return render(request, "accounts/activity.html", _context(request))
    except BadCursor:
        return redirect("accounts:activity")


@needs(Ability.READ)
@require_GET
def team_activity_more(request: HtmxRequest) -> HttpResponse:
    try:
        return render(request, "accounts/_activity_rows.html", _context(request))
    except BadCursor as error:
        raise Http404(str(error)) from None


def _context(request: HtmxRequest) -> dict[str, object]:
    asked = request.GET.get("topic", "")
    topic = asked if asked in activity.TOPICS else ""
    page = activity.page_of(request.team, request.GET.get("cursor"), topic=topic)
    return {"page": page, "topic": topic, "topics": activity.TOPICS.items()}
