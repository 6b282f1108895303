"""Requests and answers about models of one's own. Their limits stand in `training_limits`."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from credits.serializers import AmountField
from generation import storage
from generation.custom import queries, services
from generation.models import CustomModel, Job, ModelVersion, TrainingImage
from generation.params import SLUG_CHARS_MAX
from generation.serializers import JOBS_PAGE_MAX, FailureSerializer, JobStatusSerializer, ProgressSerializer
from generation.training_limits import CAPTION_CHARS_MAX, PICTURES_MIN, STEPS_MAX, STEPS_MIN, URLS_MAX
from tenkaigen.strict import StrictSerializer, SwitchField, TextField, WholeNumberField

URL_CHARS_MAX = 2000
STEPS_WORDS = f"{STEPS_MIN} to {STEPS_MAX:,}; left out: what suits the pictures."


# --- Requests -------------------------------------------------------------------------------------------------------
class ModelRequestSerializer(StrictSerializer):
    """What a model is. Everything may be left out and given later; `null` empties a field."""

    name = TextField(help_text="At most 60 characters after tidying.")
    description = TextField(help_text="At most 300 characters.")
    trigger_word = TextField(help_text="3 to 30 small letters and digits that no prompt holds by chance.")
    reference_model = TextField(max_length=SLUG_CHARS_MAX, help_text="An id of GET /api/v1/reference-models.")
    steps = WholeNumberField(help_text=STEPS_WORDS)
    train_text_encoder = SwitchField(required=False, help_text="Slower, and closer to the subject.")
    has_consent = SwitchField(
        required=False,
        help_text="true: you have the right to use the pictures, also those you add later, and the consent of the "
        "people in them.",
    )

    def to_fields(self) -> dict[str, Any]:
        """The fields that were given, as `drafts.change` takes them. Call `is_valid` first."""
        names = {"reference_model": "reference", "steps": "train_steps"}
        return {names.get(name, name): value for name, value in self.validated_data.items() if name not in ORDER_FIELDS}


class ModelOrderSerializer(ModelRequestSerializer):
    """A model, and with pictures its first training."""

    image_urls = serializers.ListField(
        child=serializers.CharField(max_length=URL_CHARS_MAX), required=False, max_length=URLS_MAX,
        help_text=f"Public addresses of {PICTURES_MIN} to {URLS_MAX} pictures. With them the model is trained at once.",
    )  # fmt: skip
    train = SwitchField(required=False, help_text="false: keep the pictures in a draft, and train it later.")
    max_credits = AmountField(required=False, allow_null=True, help_text="As in an order of pictures.")


ORDER_FIELDS = {"image_urls", "train", "max_credits"}


class TrainRequestSerializer(StrictSerializer):
    max_credits = AmountField(required=False, allow_null=True, help_text="As in an order of pictures.")


class RefineRequestSerializer(TrainRequestSerializer):
    """What the next version starts from, and what is new about it."""

    version = WholeNumberField(help_text="The number it starts from; left out: the current one.")
    steps = WholeNumberField(help_text=f"{STEPS_MIN} to {STEPS_MAX:,}; needed where no picture is new.")


class PageRequestSerializer(StrictSerializer):
    cursor = serializers.CharField(required=False, max_length=200, help_text="`next_cursor` of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=JOBS_PAGE_MAX, default=24)


class PictureUrlsSerializer(StrictSerializer):
    """Pictures by their addresses."""

    urls = serializers.ListField(
        child=serializers.CharField(max_length=URL_CHARS_MAX), min_length=1, max_length=URLS_MAX
    )


class PictureFilesSerializer(serializers.Serializer):
    """Pictures as files: `files`, as often as there are some, or one `zip`."""

    files = serializers.ListField(child=serializers.FileField(allow_empty_file=True), required=False)
    zip = serializers.FileField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if bool(attrs.get("files")) == bool(attrs.get("zip")):
            raise serializers.ValidationError("Send `files`, or one `zip`.")
        return attrs

    def pairs(self) -> list[tuple[str, Any]]:
        return [(file.name, file) for file in self.validated_data["files"]]


class CaptionSerializer(StrictSerializer):
    caption = TextField(required=True, allow_null=False, help_text=f"At most {CAPTION_CHARS_MAX} characters.")


# --- Answers --------------------------------------------------------------------------------------------------------
class ModelSerializer(serializers.ModelSerializer):
    """A model in short. Serializes a row of `queries.models_of`."""

    reference_model = serializers.CharField(source="reference.slug", default=None, allow_null=True)
    steps = serializers.IntegerField(source="train_steps", allow_null=True)
    is_draft = serializers.BooleanField(help_text="It was never trained.")
    status = serializers.ChoiceField(
        choices=Job.Status.choices, allow_null=True, help_text="Of its newest training; null: there was none."
    )
    current_version = serializers.IntegerField(
        source="current.number", default=None, allow_null=True, help_text="The one you draw with; null: none is ready."
    )
    images = serializers.IntegerField(source="pictures_count", help_text="How many pictures it learns from.")
    cover_url = serializers.SerializerMethodField(allow_null=True, help_text="Works for some minutes.")

    class Meta:
        model = CustomModel
        fields = (
            "id", "name", "description", "trigger_word", "reference_model", "base_model", "steps", "train_text_encoder",
            "has_consent", "is_draft", "status", "current_version", "images", "cover_url", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.URI)
    def get_cover_url(self, model: Any) -> str | None:
        return link(self.context["request"], model.cover_key) if model.cover_key else None


class ModelDetailSerializer(ModelSerializer):
    """A model, and whether it can be trained."""

    problems = serializers.SerializerMethodField(help_text="What misses before the first training, by field.")
    seconds = serializers.SerializerMethodField(
        allow_null=True, help_text="How long a training takes, by the last ones here; null: not known."
    )

    class Meta:
        model = CustomModel
        fields = (*ModelSerializer.Meta.fields, "problems", "seconds")
        read_only_fields = fields

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_problems(self, model: CustomModel) -> dict[str, str]:
        if model.current_id:
            return {}
        names = {"reference": "reference_model", "pictures": "image_urls"}
        return {names.get(name, name): text for name, text in services.problems_of(model).items()}

    @extend_schema_field(OpenApiTypes.INT)
    def get_seconds(self, model: CustomModel) -> int | None:
        return queries.estimate_seconds(model)


class ModelPageSerializer(serializers.Serializer):
    """One page of models, newest first."""

    items = ModelSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class PictureSerializer(serializers.ModelSerializer):
    """A picture to learn from."""

    url = serializers.SerializerMethodField(help_text="Works for some minutes.")
    thumbnail_url = serializers.SerializerMethodField(help_text="Works for some minutes.")
    bytes = serializers.IntegerField(source="size_bytes")
    like = serializers.PrimaryKeyRelatedField(
        read_only=True, allow_null=True, help_text="An earlier picture that it looks like."
    )

    class Meta:
        model = TrainingImage
        fields = ("id", "position", "caption", "width", "height", "bytes", "sha256", "like", "url", "thumbnail_url")
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, picture: TrainingImage) -> str:
        return link(self.context["request"], picture.key)

    @extend_schema_field(OpenApiTypes.URI)
    def get_thumbnail_url(self, picture: TrainingImage) -> str:
        return link(self.context["request"], picture.thumbnail_key)


class RefusedPictureSerializer(serializers.Serializer):
    name = serializers.CharField()
    reason = serializers.CharField()


class AddedSerializer(serializers.Serializer):
    """What became of the pictures that were sent."""

    added = PictureSerializer(many=True)
    refused = RefusedPictureSerializer(many=True)


class SampleSerializer(serializers.Serializer):
    """A picture of the same words and the same noise in every version."""

    step = serializers.IntegerField()
    prompt = serializers.CharField()
    seed = serializers.IntegerField()
    url = serializers.SerializerMethodField(help_text="Works for some minutes.")

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, sample: dict[str, Any]) -> str:
        return link(self.context["request"], sample["key"])


class VersionSerializer(serializers.ModelSerializer):
    """A version, and its training."""

    status = serializers.ChoiceField(source="job.status", choices=Job.Status.choices)
    progress = serializers.SerializerMethodField(allow_null=True)
    failure = serializers.SerializerMethodField(allow_null=True)
    job = serializers.UUIDField(source="job_id")
    parent = serializers.IntegerField(source="parent.number", default=None, allow_null=True)
    images = serializers.IntegerField(source="images_count")
    steps = serializers.IntegerField(source="settings.steps")
    resolution = serializers.IntegerField(source="settings.resolution")
    losses = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()), help_text="[step, mean loss since the last point]"
    )
    samples = SampleSerializer(many=True)
    is_ready = serializers.BooleanField(help_text="It can be drawn with.")
    is_current = serializers.SerializerMethodField()
    credits_quoted = AmountField(source="job.quoted_centi")
    credits_charged = AmountField(source="job.charged_centi")

    class Meta:
        model = ModelVersion
        fields = (
            "number", "status", "progress", "failure", "job", "parent", "iteration", "images", "steps", "resolution",
            "steps_done", "losses", "samples", "is_ready", "is_current", "adapter_sha256", "adapter_bytes",
            "credits_quoted", "credits_charged", "created_at", "finished_at", "deleted_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, version: ModelVersion) -> dict[str, Any] | None:
        return JobStatusSerializer().get_progress(version.job)

    @extend_schema_field(FailureSerializer)
    def get_failure(self, version: ModelVersion) -> dict[str, Any] | None:
        return JobStatusSerializer().get_failure(version.job)

    @extend_schema_field(OpenApiTypes.BOOL)
    def get_is_current(self, version: ModelVersion) -> bool:
        """The context has the `model`, so that it is not read once for each version."""
        return bool(self.context["model"].current_id == version.pk)


class VersionPageSerializer(serializers.Serializer):
    """One page of versions, newest first."""

    items = VersionSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class TrainingSerializer(serializers.Serializer):
    """A training that was ordered. Serializes its job."""

    model = serializers.UUIDField(source="trained_version.model_id")
    version = serializers.IntegerField(source="trained_version.number")
    job = JobStatusSerializer(source="*", help_text="As GET /api/v1/generate/{job_id} tells it.")


def link(request: Any, key: str) -> str:
    return str(request.build_absolute_uri(storage.link(key)))
