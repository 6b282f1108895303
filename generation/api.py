"""The REST interface about pictures: parse, call one service, answer."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseRedirect
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from accounts.access import key_of, require
from accounts.roles import Ability
from credits import queries as credits
from credits.serializers import QuoteSerializer
from generation import estimates, queries, services, storage, wording
from generation.api_parts import ASK_AGAIN_SECONDS, KEY_HEADER, request_key, uuid_of
from generation.models import Image, Job
from generation.serializers import (
    DryRunSerializer,
    ExpansionSerializer,
    JobDetailSerializer,
    JobListRequestSerializer,
    JobPageSerializer,
    JobStatusSerializer,
    OrderSerializer,
    PromptRequestSerializer,
    StyleSerializer,
)
from tenkaigen.schema import refusals

JOB_ID = OpenApiParameter("job_id", OpenApiTypes.UUID, OpenApiParameter.PATH)


class GenerateView(APIView):
    """Order pictures."""

    abilities = {"POST": Ability.GENERATE}

    @extend_schema(
        operation_id="generate",
        request=OrderSerializer,
        responses={
            200: OpenApiResponse(QuoteSerializer, description="With `dry_run`: it would be accepted, at this price."),
            202: JobStatusSerializer,
            **refusals(400, 402, 409, 413, 415, 422, 503),
        },
        parameters=[
            DryRunSerializer,
            KEY_HEADER,
        ],
    )
    def post(self, request: Request) -> Response:
        serializer = OrderSerializer(data=request.data, context={"team": request.team})
        serializer.is_valid(raise_exception=True)
        order = {
            "team": request.team,
            "user": request.user,
            "params": serializer.to_params(),
            "request_key": request_key(request),
            "at_most_centi": serializer.validated_data.get("max_credits"),
            "api_key": key_of(request),
        }
        mode = DryRunSerializer(data=request.query_params.dict())
        mode.is_valid(raise_exception=True)
        if mode.validated_data["dry_run"]:
            return Response(QuoteSerializer(estimates.rehearse(**order)).data)
        job = services.submit_job(**order)
        response = _status(request, job, code=202)
        response["Location"] = reverse("api:generation", args=[job.id], request=request)
        return response


class GenerationView(APIView):
    """Watch a job: short, cheap, made for asking often."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="generation",
        parameters=[JOB_ID],
        responses={200: JobStatusSerializer, **refusals(400, 404)},
        description="While the job is open, `Retry-After` says when asking again is worth it.",
    )
    def get(self, request: Request, job_id: str) -> Response:
        return _status(request, _job(request, job_id, queries.jobs_of(request.team).prefetch_related(None)))


class JobListView(APIView):
    """The team's jobs, newest first."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="jobs",
        parameters=[JobListRequestSerializer],
        responses={200: JobPageSerializer, **refusals(400)},
    )
    def get(self, request: Request) -> Response:
        serializer = JobListRequestSerializer(data=request.query_params.dict())
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        page = queries.job_page(request.team, asked.get("cursor"), status=asked.get("status", ""), size=asked["limit"])
        context = {"request": request, "holds": credits.first_holds([job.pk for job in page.items])}
        return Response(JobPageSerializer(page, context=context).data)


class JobView(APIView):
    """One job in full."""

    abilities = {"GET": Ability.READ, "DELETE": (Ability.GENERATE, Ability.TRAIN)}

    @extend_schema(operation_id="job", parameters=[JOB_ID], responses={200: JobDetailSerializer, **refusals(400, 404)})
    def get(self, request: Request, job_id: str) -> Response:
        return _detail(request, _job(request, job_id))

    @extend_schema(
        operation_id="cancel",
        parameters=[JOB_ID],
        responses={200: JobDetailSerializer, **refusals(400, 404, 409)},
        description="Cancel an open job: its credits come back at once. The key needs what ordering it needed:"
        " the scope `generate`, or `train` for a training.",
    )
    def delete(self, request: Request, job_id: str) -> Response:
        job = _job(request, job_id)
        require(request, Ability.GENERATE if job.kind == Job.Kind.IMAGE else Ability.TRAIN)
        return _detail(request, services.cancel_job(job, actor=request.user))


class ParsePromptView(APIView):
    """See what would be made of a prompt. Costs nothing and keeps nothing."""

    abilities = {"POST": Ability.GENERATE}

    @extend_schema(
        operation_id="parse_prompt",
        request=PromptRequestSerializer,
        responses={200: ExpansionSerializer, **refusals(400, 409, 413, 415, 422)},
    )
    def post(self, request: Request) -> Response:
        serializer = PromptRequestSerializer(data=request.data, context={"team": request.team})
        serializer.is_valid(raise_exception=True)
        params = serializer.to_params()
        expansion = wording.suggest_prompt(team=request.team, params=params)
        answer = {
            "prompt": params.prompt,
            "expanded_prompt": expansion.prompt,
            "negative_prompt": expansion.negative_prompt,
            "style": expansion.style,
            "franchise": expansion.franchise,
            "expander": expansion.expander,
            "note": expansion.note,
        }
        return Response(ExpansionSerializer(answer).data)


class StyleListView(APIView):
    """The styles there are."""

    abilities = {"GET": Ability.READ}

    @extend_schema(operation_id="styles", responses={200: StyleSerializer(many=True), **refusals()})
    def get(self, request: Request) -> Response:
        return Response(StyleSerializer(queries.styles(), many=True, context={"request": request}).data)


class ImageView(APIView):
    """A picture's file."""

    abilities = {"GET": Ability.READ}

    @extend_schema(
        operation_id="image",
        parameters=[
            OpenApiParameter("image_id", OpenApiTypes.UUID, OpenApiParameter.PATH),
            OpenApiParameter("variant", str, OpenApiParameter.PATH, enum=list(storage.VARIANTS)),
        ],
        responses={302: OpenApiResponse(description="`Location` works for some minutes."), **refusals(400, 404)},
    )
    def get(self, request: Request, image_id: str, variant: str) -> HttpResponseRedirect:
        image = _image(request, image_id)
        if variant not in storage.VARIANTS:
            raise NotFound(f"There is no variant {variant[:20]!r}. There are: {', '.join(storage.VARIANTS)}.")
        return HttpResponseRedirect(request.build_absolute_uri(storage.short_lived_url(image, variant)))


@extend_schema(exclude=True)
class RootView(APIView):
    """Where to read on."""

    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        names = ("schema", "generate", "quotes", "jobs", "parse_prompt", "styles", "reference_models", "models")
        return Response({name: reverse(f"api:{name}", request=request) for name in names})


@extend_schema(exclude=True)
class NotFoundView(APIView):
    """An address below /api/v1/ that does not exist is told so in JSON, by any method."""

    permission_classes = [AllowAny]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is no such address. GET /api/v1/schema lists what there is.")


def _status(request: Request, job: Job, code: int = 200) -> Response:
    response = Response(JobStatusSerializer(job, context={"request": request}).data, status=code)
    if not job.is_over:
        response["Retry-After"] = str(ASK_AGAIN_SECONDS[Job.Status(job.status)])
    return response


def _detail(request: Request, job: Job) -> Response:
    receipt = credits.receipt_of(request.team, job.pk)
    holds = {receipt.first.reference: receipt.first} if receipt else {}
    return Response(JobDetailSerializer(job, context={"request": request, "receipt": receipt, "holds": holds}).data)


def _job(request: Request, text: str, jobs: QuerySet[Job] | None = None) -> Job:
    # A job of another team is as absent as one that never was.
    jobs = queries.jobs_of(request.team) if jobs is None else jobs
    job = jobs.filter(id=uuid_of("job_id", text)).first()
    if job is None:
        raise NotFound("There is no such job.")
    return job


def _image(request: Request, text: str) -> Image:
    image = queries.image_of(request.team, uuid_of("image_id", text))
    if image is None:
        raise NotFound("There is no such image.")
    return image
