"""The REST interface about prices: what something would cost, before it is ordered."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Team
from accounts.roles import Ability
from credits.pricing import ITERATION_MAX, Creation, Refinement
from credits.serializers import QuoteSerializer
from generation import estimates
from generation.estimates import Estimate
from generation.models import Job
from generation.serializers import OrderSerializer
from tenkaigen.schema import refusals
from tenkaigen.strict import StrictSerializer, TextField

TRAINING_IMAGES_MAX = 1000
NO_WORDS = "-"


class PicturesQuoteSerializer(OrderSerializer):
    """The body of an order. Its words may be left out: they do not change the price."""

    kind = serializers.ChoiceField(choices=[Job.Kind.IMAGE.value], default=Job.Kind.IMAGE)
    prompt = TextField(help_text="Of no consequence to the price.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return super().validate({**attrs, "prompt": attrs.get("prompt") or NO_WORDS})

    def estimate(self, team: Team) -> Estimate:
        return estimates.of_pictures(team, self.to_params())


class TrainingQuoteSerializer(StrictSerializer):
    """What both kinds of training have."""

    complexity = serializers.DecimalField(
        max_digits=6, decimal_places=3, min_value=Decimal("0.001"), required=False, allow_null=True,
        help_text="Of the reference model. Left out: the price list's own.",
    )  # fmt: skip


class CreationQuoteSerializer(TrainingQuoteSerializer):
    """A model of one's own."""

    kind = serializers.ChoiceField(choices=[Job.Kind.CREATION.value])
    images = serializers.IntegerField(min_value=1, max_value=TRAINING_IMAGES_MAX)

    def estimate(self, team: Team) -> Estimate:
        asked = self.validated_data
        return estimates.of_training(team, Creation(asked["images"], asked.get("complexity")))


class RefinementQuoteSerializer(TrainingQuoteSerializer):
    """The next version of a model."""

    kind = serializers.ChoiceField(choices=[Job.Kind.REFINEMENT.value])
    iteration = serializers.IntegerField(min_value=1, max_value=ITERATION_MAX, help_text="The first refinement is 1.")

    def estimate(self, team: Team) -> Estimate:
        asked = self.validated_data
        return estimates.of_training(team, Refinement(asked["iteration"], asked.get("complexity")))


KINDS: dict[str, type[PicturesQuoteSerializer | CreationQuoteSerializer | RefinementQuoteSerializer]] = {
    Job.Kind.IMAGE: PicturesQuoteSerializer,
    Job.Kind.CREATION: CreationQuoteSerializer,
    Job.Kind.REFINEMENT: RefinementQuoteSerializer,
}


class QuoteView(APIView):
    """See what something would cost, and how the team would pay it. Nothing is set aside."""

    abilities = {"POST": Ability.READ}

    @extend_schema(
        operation_id="quote",
        request=PolymorphicProxySerializer("QuoteRequest", list(KINDS.values()), resource_type_field_name=None),
        responses={200: QuoteSerializer, **refusals(400, 409, 413, 415, 503)},
        description="`kind` says what for: `image` (the default), `creation` or `refinement`.",
    )
    def post(self, request: Request) -> Response:
        kind = request.data.get("kind") if isinstance(request.data, dict) else None
        # An unknown kind is refused by the field of that name.
        chosen = KINDS.get(kind, PicturesQuoteSerializer) if isinstance(kind, str) else PicturesQuoteSerializer
        serializer = chosen(data=request.data, context={"team": request.team})
        serializer.is_valid(raise_exception=True)
        return Response(QuoteSerializer(serializer.estimate(request.team)).data)
