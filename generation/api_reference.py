"""The REST interface about reference models: the looks to draw with and to train from."""

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.roles import Ability
from generation import looks, queries
from generation.models import ReferenceModel
from generation.params import clean_text
from generation.templatetags.generation import reference_preview
from tenkaigen.schema import refusals
from tenkaigen.strict import StrictSerializer

SEARCH_CHARS_MAX = 100


class ReferenceModelListRequestSerializer(StrictSerializer):
    """Which of them."""

    category = serializers.ChoiceField(choices=ReferenceModel.Category.choices, required=False)
    q = serializers.CharField(
        required=False, allow_blank=True, max_length=SEARCH_CHARS_MAX, help_text="Words in its name or description."
    )

    def rows(self) -> QuerySet[ReferenceModel]:
        asked = self.validated_data
        return queries.reference_models(category=asked.get("category", ""), words=clean_text(asked.get("q", "")))


class ReferenceModelSerializer(serializers.ModelSerializer):
    """A look. Its id is what an order names as `reference_model`."""

    id = serializers.CharField(source="slug")
    category = serializers.ChoiceField(choices=ReferenceModel.Category.choices)
    base_model = serializers.SerializerMethodField(help_text="What it is made for, where the order names no model.")
    preview_url = serializers.SerializerMethodField(allow_null=True, help_text="Drawn by the installed model.")

    class Meta:
        model = ReferenceModel
        fields = (
            "id", "name", "category", "description", "complexity", "base_model", "recipe", "negative_prompt",
            "defaults", "example_prompt", "preview_url",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.STR)
    def get_base_model(self, look: ReferenceModel) -> str:
        return looks.base_of(look)

    @extend_schema_field(OpenApiTypes.URI)
    def get_preview_url(self, look: ReferenceModel) -> str | None:
        path = reference_preview(look)
        return str(self.context["request"].build_absolute_uri(path)) if path else None


class ReferenceModelListView(APIView):
    """The looks there are, by category. There are few enough for one answer."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="reference_models",
        parameters=[ReferenceModelListRequestSerializer],
        responses={200: ReferenceModelSerializer(many=True), **refusals(400)},
    )
    def get(self, request: Request) -> Response:
        asked = ReferenceModelListRequestSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Response(ReferenceModelSerializer(asked.rows(), many=True, context={"request": request}).data)


class ReferenceModelView(APIView):
    """One look."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="reference_model",
        parameters=[OpenApiParameter("reference_id", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses={200: ReferenceModelSerializer, **refusals(404)},
    )
    def get(self, request: Request, reference_id: str) -> Response:
        look = looks.reference_of(reference_id)
        if look is None:
            raise NotFound("There is no such reference model.")
        return Response(ReferenceModelSerializer(look, context={"request": request}).data)
