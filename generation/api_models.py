"""The REST interface about models of one's own: parse, call one service, answer."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from accounts.access import key_of
from accounts.roles import Ability
from credits.serializers import QuoteSerializer
from generation import estimates
from generation.api_parts import ASK_AGAIN_SECONDS, KEY_HEADER, request_key, uuid_of
from generation.custom import drafts, orders, queries, services
from generation.models import CustomModel, Job, ModelVersion
from generation.serializers import DryRunSerializer
from generation.serializers_models import (
    ModelDetailSerializer,
    ModelOrderSerializer,
    ModelPageSerializer,
    ModelRequestSerializer,
    PageRequestSerializer,
    RefineRequestSerializer,
    TrainingSerializer,
    TrainRequestSerializer,
)
from tenkaigen.schema import refusals

NUMBER_CHARS_MAX = 9  # of a version
MODEL_ID = OpenApiParameter("model_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
TRAINING = {
    200: OpenApiResponse(QuoteSerializer, description="With `dry_run`: it would be accepted, at this price."),
    202: TrainingSerializer,
    **refusals(400, 402, 404, 409, 413, 415, 422, 503),
}
GONE = OpenApiResponse(description="It is gone.")


class ModelListView(APIView):
    """The team's models, and the way to a new one."""

    abilities = {"GET": Ability.READ, "POST": Ability.TRAIN}

    @extend_schema(
        operation_id="models", parameters=[PageRequestSerializer], responses={200: ModelPageSerializer, **refusals(400)}
    )
    def get(self, request: Request) -> Response:
        asked = checked(PageRequestSerializer, request.query_params.dict())
        page = queries.models_page(request.team, asked.get("cursor"), asked["limit"])
        return Response(ModelPageSerializer(page, context={"request": request}).data)

    @extend_schema(
        operation_id="create_model",
        request=ModelOrderSerializer,
        parameters=[KEY_HEADER],
        responses={
            201: OpenApiResponse(ModelDetailSerializer, description="A draft: add pictures, then train it."),
            202: OpenApiResponse(TrainingSerializer, description="With `image_urls`: it is being trained."),
            **refusals(400, 402, 409, 413, 415, 422, 503),
        },
        description="With everything and `image_urls` the model is trained at once; if anything is refused, a picture "
        "for instance, nothing is kept. Otherwise a draft is kept for 30 days.",
    )
    def post(self, request: Request) -> Response:
        serializer = ModelOrderSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        urls = asked.get("image_urls", [])
        made = orders.create(
            team=request.team,
            user=request.user,
            fields=serializer.to_fields(),
            urls=urls,
            trains=asked.get("train", bool(urls)),
            request_key=request_key(request),
            at_most_centi=asked.get("max_credits"),
            api_key=key_of(request),
        )
        if isinstance(made, Job):
            return _training(request, made)
        response = detail(request, made, code=201)
        response["Location"] = reverse("api:model", args=[made.pk], request=request)
        return response


class ModelView(APIView):
    """One model."""

    abilities = {"GET": Ability.READ, "PATCH": Ability.TRAIN, "DELETE": Ability.TRAIN}

    @extend_schema(
        operation_id="model", parameters=[MODEL_ID], responses={200: ModelDetailSerializer, **refusals(400, 404)}
    )
    def get(self, request: Request, model_id: str) -> Response:
        return shown(request, own_model(request, model_id))

    @extend_schema(
        operation_id="change_model",
        parameters=[MODEL_ID],
        request=ModelRequestSerializer,
        responses={200: ModelDetailSerializer, **refusals(400, 404, 409, 413, 415, 422, 503)},
        description="Name and description at any time; the rest until a training has succeeded.",
    )
    def patch(self, request: Request, model_id: str) -> Response:
        model = own_model(request, model_id)
        serializer = ModelRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.to_fields()
        if fields.keys() <= {"name", "description"}:
            texts = {name: text or "" for name, text in fields.items()}
            services.rename(model, actor=request.user, **texts)
        else:
            drafts.change(model, actor=request.user, **fields)
        return detail(request, model)

    @extend_schema(
        operation_id="delete_model",
        parameters=[MODEL_ID],
        responses={204: GONE, **refusals(400, 404, 409, 503)},
        description="Its pictures and versions go for good, an open training is canceled and its credits come back. "
        "What was made with it stays.",
    )
    def delete(self, request: Request, model_id: str) -> Response:
        services.delete_model(own_model(request, model_id), actor=request.user)
        return Response(status=204)


class TrainView(APIView):
    """Train a draft, or again a model whose training failed."""

    abilities = {"POST": Ability.TRAIN}

    @extend_schema(
        operation_id="train_model",
        parameters=[MODEL_ID, KEY_HEADER, DryRunSerializer],
        request=TrainRequestSerializer,
        responses=TRAINING,
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = own_model(request, model_id)
        asked = checked(TrainRequestSerializer, request.data)
        return _order(request, services.submit_training, model, at_most_centi=asked.get("max_credits"))


class RefineView(APIView):
    """Train the next version."""

    abilities = {"POST": Ability.TRAIN}

    @extend_schema(
        operation_id="refine_model",
        parameters=[MODEL_ID, KEY_HEADER, DryRunSerializer],
        request=RefineRequestSerializer,
        responses=TRAINING,
        description="From a version that is ready, with pictures that are new since then, or with more steps.",
    )
    def post(self, request: Request, model_id: str) -> Response:
        model = own_model(request, model_id)
        asked = checked(RefineRequestSerializer, request.data)
        number = asked.get("version")
        parent = None if number is None else own_version(model, str(number))
        order = {"parent": parent, "steps": asked.get("steps"), "at_most_centi": asked.get("max_credits")}
        return _order(request, services.refine, model, **order)


def checked(kind: type[Any], data: Any) -> dict[str, Any]:
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _order(request: Request, submit: Any, model: CustomModel, **order: Any) -> Response:
    order |= {"user": request.user, "request_key": request_key(request), "api_key": key_of(request)}
    if checked(DryRunSerializer, request.query_params.dict())["dry_run"]:
        return Response(QuoteSerializer(estimates.rehearse_training(submit, model, **order)).data)
    return _training(request, submit(model, **order))


def _training(request: Request, job: Job) -> Response:
    response = Response(TrainingSerializer(job, context={"request": request}).data, status=202)
    response["Location"] = reverse("api:generation", args=[job.id], request=request)
    if not job.is_over:
        response["Retry-After"] = str(ASK_AGAIN_SECONDS[Job.Status(job.status)])
    return response


def detail(request: Request, model: CustomModel, code: int = 200) -> Response:
    """The model as it is now, whatever was done to it."""
    return shown(request, own_model(request, str(model.pk)), code)


def shown(request: Request, model: CustomModel, code: int = 200) -> Response:
    return Response(ModelDetailSerializer(model, context={"request": request}).data, status=code)


def own_model(request: Request, text: str) -> CustomModel:
    # A model of another team is as absent as one that never was.
    model = queries.model_of(request.team, uuid_of("model_id", text))
    if model is None:
        raise NotFound("There is no such model.")
    return model


def own_version(model: CustomModel, text: str) -> ModelVersion:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= NUMBER_CHARS_MAX else 0
    version = queries.version_of(model, number)
    if version is None:
        raise NotFound("There is no such version.")
    return version
