"""End one of one's own sessions. The list is allauth's, in our design."""

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from tenkaigen.htmx import HtmxRequest, signed_in


@signed_in
@require_POST
def end_session(request: HtmxRequest, session_id: int) -> HttpResponse:
    found = UserSession.objects.filter(user=request.user, pk=session_id).first()
    if found is None:
        raise Http404("There is no such session.")
    found.end()
    messages.success(request, "That session is signed out.")
    return redirect("usersessions_list")
