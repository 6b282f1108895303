"""The REST interface about credits: parse, read, answer."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.roles import Ability
from credits.queries import statement_page
from credits.serializers import HistoryRequestSerializer, HistorySerializer
from tenkaigen.schema import refusals


class HistoryView(APIView):
    """Every movement of the team's credits, newest first."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="credits_history",
        parameters=[HistoryRequestSerializer],
        responses={200: HistorySerializer, **refusals(400)},
    )
    def get(self, request: Request) -> Response:
        asked = HistoryRequestSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        page = statement_page(request.team, wanted.get("cursor"), kind=wanted.get("kind", ""), size=wanted["limit"])
        return Response(HistorySerializer(page).data)
