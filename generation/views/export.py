"""Take everything along."""

from django.http.response import StreamingHttpResponse
from django.views.decorators.http import require_POST

from accounts import activity
from generation.account_export import zip_of
from tenkaigen.htmx import HtmxRequest, signed_in


@signed_in
@require_POST
def export(request: HtmxRequest) -> StreamingHttpResponse:
    """Everything there is about the person, as a zip. By POST, so that no browser fetches it ahead."""
    activity.record(team=request.team, actor=request.user, verb="account.exported")
    headers = {"Content-Disposition": 'attachment; filename="tenkaigen-export.zip"'}
    return StreamingHttpResponse(zip_of(request.user), content_type="application/zip", headers=headers)
