"""Delete one's account, and take that back while there is time."""

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts import services
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest, page_status, signed_in


@signed_in
@reauthentication_required
@require_http_methods(["GET", "POST"])
def close_account(request: HtmxRequest) -> HttpResponse:
    """Ask, then delete softly. The password has just been asked for, with its limits."""
    context = {
        "title": "Delete your account?",
        "words": f"Your keys stop and your own teams close at once. For {settings.GRACE_DAYS} days you can sign in and "
        "restore everything; then you, your teams and their pictures are deleted for good. "
        "What you made in the teams of others stays with them.",
        "button": "Delete my account",
        "back": reverse("accounts:account"),
    }
    if request.method == "GET":
        return render(request, "accounts/question.html", context)
    try:
        services.close_account(request.user)
    except DomainError as error:
        return render(request, "accounts/question.html", {**context, "problem": str(error)}, status=page_status(error))
    logout(request)
    messages.success(request, f"Your account is deleted. For {settings.GRACE_DAYS} days, signing in restores it.")
    return redirect("generation:landing")


@signed_in
@require_http_methods(["GET", "POST"])
def restore_account(request: HtmxRequest) -> HttpResponse:
    if request.user.closed_at is None:
        return redirect("accounts:account")
    context = {"days": settings.GRACE_DAYS}
    if request.method == "GET":
        return render(request, "accounts/restore.html", context)
    try:
        services.reopen_account(request.user)
    except DomainError as error:
        return render(request, "accounts/restore.html", {**context, "problem": str(error)}, status=page_status(error))
    messages.success(request, "Welcome back. Everything is as it was.")
    return redirect("generation:studio")
