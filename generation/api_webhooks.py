"""Where remote GPU providers deliver. Nobody signs in here: the signature over the raw body is all there is."""

from uuid import UUID

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from generation.remote import deliveries
from tenkaigen.api import BodyTooLarge, MinuteThrottle


class WebhookThrottle(MinuteThrottle):
    """By provider and address: whoever floods it with forgeries stops nobody else's deliveries."""

    def count_by(self, request: Request, view: APIView) -> str:
        return f"webhook:{_uuid(view.kwargs['provider_id'])}:{request.META.get('REMOTE_ADDR', '')}"

    def most(self) -> int:
        return settings.PROVIDER_WEBHOOKS_PER_MINUTE


@extend_schema(exclude=True)
class ProviderWebhookView(APIView):
    """Take a delivery: 200, or 202 when its request is not known (yet)."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = [WebhookThrottle]

    def post(self, request: Request, provider_id: str) -> Response:
        receipt = deliveries.receive(_uuid(provider_id), request.headers, _raw_body(request))
        return Response({"is_new": receipt.is_new}, status=200 if receipt.is_known else 202)


def _raw_body(request: Request) -> bytes:
    # Read, not `request.body`: a body without a length must not be read further than this, either.
    body: bytes = request._request.read(settings.API_BODY_BYTES_MAX + 1)
    if len(body) > settings.API_BODY_BYTES_MAX:
        raise BodyTooLarge(settings.API_BODY_BYTES_MAX)
    return body


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
