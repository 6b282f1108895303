"""The REST interface about billing: parse, call a service, answer. People pay; programs only show them where."""

from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.roles import Ability
from credits import plans
from credits.billing import mirror, offers, sales
from credits.billing.serializers import (
    AddressSerializer,
    BillingSerializer,
    CheckoutRequestSerializer,
    CheckoutSerializer,
    PurchaseSerializer,
)
from credits.billing.views import thanks_url
from credits.models import Purchase
from tenkaigen.schema import refusals


class BillingView(APIView):
    """The team's plan and subscription."""

    abilities = {"GET": Ability.BILLING}

    @extend_schema(operation_id="billing", responses={200: BillingSerializer, **refusals(403)})
    def get(self, request: Request) -> Response:
        state = mirror.state_of(sales.subscribed(request.team))
        told = {
            "plan": plans.plan_of(request.team.pk).slug,
            "status": state and state.status,
            "interval": state and state.interval,
            "next_invoice_at": state.next_at if state and not state.ends_at else None,
            "ends_at": state and state.ends_at,
        }
        return Response(BillingSerializer(told).data)


class CheckoutView(APIView):
    """Begin a purchase. The answer names the page where a person pays; each call begins another one."""

    abilities = {"POST": Ability.BILLING}

    @extend_schema(
        operation_id="billing_checkout",
        request=CheckoutRequestSerializer,
        responses={201: CheckoutSerializer, **refusals(400, 403, 404, 409, 503)},
    )
    def post(self, request: Request) -> Response:
        asked = CheckoutRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        purchase, url = sales.buy(
            team=request.team,
            user=request.user,
            offer=offers.find(wanted["kind"], wanted["slug"], wanted.get("interval", "")),
            thanks_url=thanks_url(request),
            back_url=request.build_absolute_uri(reverse("credits:plans")),
        )
        return Response(CheckoutSerializer({"purchase": purchase, "url": url}).data, status=201)


class PurchaseView(APIView):
    """How a purchase stands."""

    abilities = {"GET": Ability.BILLING}

    @extend_schema(operation_id="billing_purchase", responses={200: PurchaseSerializer, **refusals(403, 404)})
    def get(self, request: Request, purchase_id: str) -> Response:
        try:
            found = Purchase.objects.filter(team=request.team, pk=UUID(purchase_id)).first()
        except ValueError:
            found = None
        if found is None:
            raise NotFound("There is no such purchase.")
        return Response(PurchaseSerializer(found).data)


class PortalView(APIView):
    """The page at Stripe where a person changes or cancels the subscription, and finds all invoices."""

    abilities = {"POST": Ability.BILLING}

    @extend_schema(
        operation_id="billing_portal", request=None, responses={200: AddressSerializer, **refusals(403, 409, 503)}
    )
    def post(self, request: Request) -> Response:
        url = sales.open_portal(team=request.team, return_url=request.build_absolute_uri(reverse("billing:billing")))
        return Response(AddressSerializer({"url": url}).data)
