"""The REST interface about what a model of one's own consists of: its versions, and its pictures."""

from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.roles import Ability
from generation.api_models import GONE, MODEL_ID, checked, detail, own_model, own_version
from generation.api_parts import uuid_of
from generation.custom import pictures, queries, services
from generation.errors import PictureRefused
from generation.models import CustomModel, TrainingImage
from generation.serializers_models import (
    AddedSerializer,
    CaptionSerializer,
    ModelDetailSerializer,
    PageRequestSerializer,
    PictureFilesSerializer,
    PictureSerializer,
    PictureUrlsSerializer,
    VersionPageSerializer,
    VersionSerializer,
)
from generation.training_limits import ZIP_BYTES_MAX
from tenkaigen.api import BodyTooLarge, SmallJSONParser
from tenkaigen.schema import refusals

FORM_BYTES_MAX = ZIP_BYTES_MAX + 1_000_000  # what stands around the files
NUMBER = OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH, description="Of a version.")
PICTURE_ID = OpenApiParameter("picture_id", OpenApiTypes.UUID, OpenApiParameter.PATH)


class PicturesParser(MultiPartParser):
    """A form with files of at most `FORM_BYTES_MAX`, which Django writes to disk as it comes."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        request = (parser_context or {})["request"]
        # As in `SmallJSONParser`: the server ends the stream there.
        if int(request.META.get("CONTENT_LENGTH") or 0) > FORM_BYTES_MAX:
            raise BodyTooLarge(FORM_BYTES_MAX)
        try:
            return super().parse(stream, media_type, parser_context)
        except (SuspiciousOperation, RequestDataTooBig) as error:
            raise ParseError("This form has too many parts.") from error


class VersionListView(APIView):
    """A model's versions, newest first; those whose training is open, failed or was canceled among them."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="versions",
        parameters=[MODEL_ID, PageRequestSerializer],
        responses={200: VersionPageSerializer, **refusals(400, 404)},
    )
    def get(self, request: Request, model_id: str) -> Response:
        asked = checked(PageRequestSerializer, request.query_params.dict())
        model = own_model(request, model_id)
        page = queries.versions_page(model, asked.get("cursor"), asked["limit"])
        return Response(VersionPageSerializer(page, context={"request": request, "model": model}).data)


class VersionView(APIView):
    """One version."""

    abilities = {"GET": Ability.READ, "DELETE": Ability.TRAIN}

    @extend_schema(
        operation_id="version",
        parameters=[MODEL_ID, NUMBER],
        responses={200: VersionSerializer, **refusals(400, 404)},
    )
    def get(self, request: Request, model_id: str, number: str) -> Response:
        model = own_model(request, model_id)
        context = {"request": request, "model": model}
        return Response(VersionSerializer(own_version(model, number), context=context).data)

    @extend_schema(
        operation_id="delete_version",
        parameters=[MODEL_ID, NUMBER],
        responses={204: GONE, **refusals(400, 404, 409, 503)},
        description="Its files go for good. If it was the current one, the newest other one that is ready is.",
    )
    def delete(self, request: Request, model_id: str, number: str) -> Response:
        model = own_model(request, model_id)
        services.delete_version(model, own_version(model, number), actor=request.user)
        return Response(status=204)


class PromoteView(APIView):
    """Draw with this version from now on; with an older one to roll back."""

    abilities = {"POST": Ability.TRAIN}

    @extend_schema(
        operation_id="promote_version",
        parameters=[MODEL_ID, NUMBER],
        request=None,
        responses={200: ModelDetailSerializer, **refusals(400, 404, 409, 503)},
    )
    def post(self, request: Request, model_id: str, number: str) -> Response:
        model = own_model(request, model_id)
        services.promote(model, own_version(model, number), actor=request.user)
        return detail(request, model)


class PictureListView(APIView):
    """The pictures a model learns from. There are few enough for one answer."""

    abilities = {"GET": Ability.READ, "POST": Ability.TRAIN}
    parser_classes = [SmallJSONParser, PicturesParser]

    @extend_schema(
        operation_id="model_images",
        parameters=[MODEL_ID],
        responses={200: PictureSerializer(many=True), **refusals(400, 404)},
    )
    def get(self, request: Request, model_id: str) -> Response:
        rows = queries.pictures_of(own_model(request, model_id))
        return Response(PictureSerializer(rows, many=True, context={"request": request}).data)

    @extend_schema(
        operation_id="add_model_images",
        parameters=[MODEL_ID],
        request={"application/json": PictureUrlsSerializer, "multipart/form-data": PictureFilesSerializer},
        responses={200: AddedSerializer, **refusals(400, 402, 404, 409, 413, 415, 422, 503)},
        description="Each picture by itself: `refused` says which were not taken, and why. Only when none was taken "
        "is the answer a refusal.",
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = own_model(request, model_id)
        added = _add(request, model)
        if added.refused and not added.added:
            raise added.end or PictureRefused(" ".join(dict.fromkeys(refused.reason for refused in added.refused)))
        return Response(AddedSerializer(added, context={"request": request}).data)


class PictureView(APIView):
    """One picture that a model learns from."""

    abilities = {"PATCH": Ability.TRAIN, "DELETE": Ability.TRAIN}

    @extend_schema(
        operation_id="caption_model_image",
        parameters=[MODEL_ID, PICTURE_ID],
        request=CaptionSerializer,
        responses={200: PictureSerializer, **refusals(400, 404, 409, 413, 415, 422, 503)},
    )
    def patch(self, request: Request, model_id: str, picture_id: str) -> Response:
        picture = _picture(request, model_id, picture_id)
        text = checked(CaptionSerializer, request.data)["caption"]
        picture = pictures.set_caption(picture, text, actor=request.user)
        return Response(PictureSerializer(picture, context={"request": request}).data)

    @extend_schema(
        operation_id="delete_model_image",
        parameters=[MODEL_ID, PICTURE_ID],
        responses={204: GONE, **refusals(400, 404, 409, 503)},
    )
    def delete(self, request: Request, model_id: str, picture_id: str) -> Response:
        pictures.remove(_picture(request, model_id, picture_id), actor=request.user)
        return Response(status=204)


class CaptionsView(APIView):
    """Words for pictures that nobody has described."""

    abilities = {"POST": Ability.TRAIN}

    @extend_schema(
        operation_id="suggest_captions",
        parameters=[MODEL_ID],
        request=None,
        responses={200: PictureSerializer(many=True), **refusals(400, 404, 409, 503)},
        description="Every picture without a caption gets one with trigger word and look. Again changes nothing.",
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = own_model(request, model_id)
        pictures.suggest_captions(model, actor=request.user)
        rows = queries.pictures_of(model)
        return Response(PictureSerializer(rows, many=True, context={"request": request}).data)


def _add(request: Request, model: CustomModel) -> pictures.Added:
    if (request.content_type or "").startswith("multipart/"):
        serializer = PictureFilesSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if file := serializer.validated_data.get("zip"):
            return pictures.add_zip(model, user=request.user, file=file)
        return pictures.add_files(model, user=request.user, files=serializer.pairs())
    asked = checked(PictureUrlsSerializer, request.data)
    return pictures.add_urls(model, user=request.user, urls=asked["urls"])


def _picture(request: Request, model_id: str, text: str) -> TrainingImage:
    picture = queries.picture_of(own_model(request, model_id), uuid_of("picture_id", text))
    if picture is None:
        raise NotFound("There is no such picture.")
    return picture
