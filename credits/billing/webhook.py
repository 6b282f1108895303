"""The door that Stripe knocks at. dj-stripe keeps whatever comes through it, so strangers are turned away before."""

import json
from uuid import UUID

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

BODY_BYTES_MAX = 1_000_000
TOLERANCE_SECONDS = 300  # of an endpoint whose row says 0, which would switch the check off
logger = structlog.get_logger(__name__)


@csrf_exempt
@require_POST
def receive(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take an event in: 400 and nothing written when its signature is not Stripe's, is old, or is of the other mode."""
    from djstripe.models import WebhookEndpoint
    from djstripe.views import ProcessWebhookView

    if not settings.STRIPE_SECRET_KEY:
        return HttpResponse(status=404)
    endpoint = get_object_or_404(WebhookEndpoint, djstripe_uuid=uuid)
    reason = _refusal(request, endpoint.secret, endpoint.djstripe_tolerance)
    if reason:
        logger.warning("stripe_webhook_refused", reason=reason)
        return HttpResponseBadRequest()
    answer: HttpResponse = ProcessWebhookView.as_view()(request, uuid=uuid)
    return answer


def _refusal(request: HttpRequest, secret: str, tolerance_seconds: int) -> str:
    import stripe

    if int(request.headers.get("Content-Length") or 0) > BODY_BYTES_MAX:
        return "it is too large"
    body = request.body.decode("utf-8", "replace")
    signature, tolerance = request.headers.get("Stripe-Signature", ""), tolerance_seconds or TOLERANCE_SECONDS
    try:
        if not secret or not stripe.WebhookSignature.verify_header(body, signature, secret, tolerance):
            return "it is not signed"
    except stripe.SignatureVerificationError as error:
        return str(error)
    try:
        is_live = json.loads(body)["livemode"]
    except (ValueError, TypeError, KeyError):
        return "it is no event"
    return "" if is_live == settings.STRIPE_LIVE_MODE else "it is of the other mode"
