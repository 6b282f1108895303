"""The REST interface about credits: parse, read, answer."""

from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import queries as accounts
from accounts.access import key_of
from accounts.roles import Ability
from credits import passes, queries
from credits.models import Pass
from credits.serializers import (
    HistoryRequestSerializer,
    HistorySerializer,
    KeySerializer,
    PassListRequestSerializer,
    PassPageSerializer,
    PassSerializer,
    SummarySerializer,
)
from tenkaigen.paging import Page
from tenkaigen.schema import refusals


class BalanceView(APIView):
    """The five figures about the team's credits."""

    abilities = {"GET": Ability.READ}

    @extend_schema(operation_id="credits_balance", responses={200: SummarySerializer, **refusals()})
    def get(self, request: Request) -> Response:
        return Response(SummarySerializer(queries.summary_of(request.team)).data)


class KeyView(APIView):
    """The key of this very request: what it may do, and what it may still spend."""

    abilities = {"GET": Ability.READ}

    @extend_schema(operation_id="key", responses={200: KeySerializer, **refusals(404)})
    def get(self, request: Request) -> Response:
        key = key_of(request)
        if key is None:
            raise NotFound("A browser's session has no key.")
        return Response(KeySerializer(key, context={"use": accounts.uses_of([key])[key.pk]}).data)


class HistoryView(APIView):
    """Every movement of the team's credits, newest first."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="credits_history",
        parameters=[HistoryRequestSerializer],
        responses={200: HistorySerializer, **refusals(400)},
    )
    def get(self, request: Request) -> Response:
        asked = HistoryRequestSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        page = queries.statement_page(
            request.team, wanted.get("cursor"), kind=wanted.get("kind", ""), size=wanted["limit"]
        )
        return Response(HistorySerializer(page).data)


class PassListView(APIView):
    """The team's passes, newest first."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="passes",
        parameters=[PassListRequestSerializer],
        responses={200: PassPageSerializer, **refusals(400)},
    )
    def get(self, request: Request) -> Response:
        asked = PassListRequestSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        page: Page[Pass] = queries.pass_page(request.team, wanted.get("cursor"), wanted["limit"])
        answer = {"items": queries.states_of(page.items), "next_cursor": page.next_cursor}
        return Response(PassPageSerializer(answer).data)


class ActivatePassView(APIView):
    """Start a pass: its time begins now. Starting it again changes nothing."""

    abilities = {"POST": Ability.GENERATE}

    @extend_schema(
        operation_id="activate_pass",
        request=None,
        parameters=[OpenApiParameter("pass_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses={200: PassSerializer, **refusals(400, 404, 409, 503)},
    )
    def post(self, request: Request, pass_id: str) -> Response:
        try:
            found = passes.activate(team=request.team, pass_id=_uuid(pass_id), actor=key_of(request) or request.user)
        except Pass.DoesNotExist:
            raise NotFound("There is no such pass.") from None
        return Response(PassSerializer(queries.states_of([found])[0]).data)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValidationError({"pass_id": ["This is not a UUID."]}) from None
