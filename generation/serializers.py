"""Requests and answers of the REST interface, field by field. The limits of a request stand in `params`."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from credits.amounts import plain
from credits.serializers import AmountField, ReceiptSerializer
from generation import looks, queries, storage
from generation.errors import InvalidParams
from generation.models import Image, Job, Style
from generation.params import COUNT_MAX, QUALITIES, SEED_MAX, SLUG_CHARS_MAX, Params, size_name
from generation.templatetags.generation import style_preview
from tenkaigen.strict import NumberField, StrictSerializer, SwitchField, TextField, WholeNumberField

JOBS_PAGE_MAX = 100


# --- Requests -------------------------------------------------------------------------------------------------------
class PromptRequestSerializer(StrictSerializer):
    """Words, and what they are for."""

    prompt = TextField(required=True, allow_null=False, help_text="At most 1,000 characters after tidying.")
    style = TextField(max_length=SLUG_CHARS_MAX, help_text="A slug of GET /api/v1/styles.")
    product = TextField(max_length=SLUG_CHARS_MAX)
    reference_model = TextField(help_text="The id of one of GET /api/v1/reference-models: the look.")
    custom_model = TextField(help_text="The id of a trained model of your team's own.")
    version = WholeNumberField(help_text="Of the custom model. Left out: its current one.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            # As on the page: what is left open, the look, the model and the product's shape decide.
            self._params = looks.make(attrs, looks.choice_of(attrs, self.context.get("team")))
        except InvalidParams as error:
            raise serializers.ValidationError({name: [text] for name, text in error.fields.items()}) from error
        return attrs

    def to_params(self) -> Params:
        """The request. Call `is_valid` first."""
        return self._params


class JobRequestSerializer(PromptRequestSerializer):
    """What to draw. Everything but the prompt may be left out; `null` means the same."""

    negative_prompt = TextField(help_text="What to keep out. At most 500 characters.")
    expanded_prompt = TextField(help_text="Your own edit of the expansion, at most 2,000 characters.")
    expand = SwitchField(required=False, allow_null=True, help_text="false: draw the prompt as it is.")
    model = TextField(max_length=SLUG_CHARS_MAX)
    size = TextField(max_length=SLUG_CHARS_MAX, help_text="For example 512x384. Left out: what suits the product.")
    quality = TextField(max_length=SLUG_CHARS_MAX, help_text=f"One of: {', '.join(QUALITIES)}.")
    count = WholeNumberField(help_text=f"How many images, 1 to {COUNT_MAX}.")
    seed = WholeNumberField(help_text=f"0 to {SEED_MAX}. The same seed and settings make the same picture.")
    num_inference_steps = WholeNumberField(help_text="Within the model's range.")
    guidance_scale = NumberField(help_text="Within the model's range.")


class JobListRequestSerializer(StrictSerializer):
    """A place in the list."""

    cursor = serializers.CharField(required=False, max_length=200, help_text="`next_cursor` of the page before.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=JOBS_PAGE_MAX, default=24)
    status = serializers.ChoiceField(choices=Job.Status.choices, required=False)


class OrderSerializer(JobRequestSerializer):
    """What to draw, and the most that it may cost."""

    max_credits = AmountField(
        required=False,
        allow_null=True,
        help_text="Refuse with price_changed when it costs more credits than this, after any pass.",
    )


class DryRunSerializer(serializers.Serializer):
    dry_run = serializers.BooleanField(default=False, help_text="Check and price everything, and order nothing.")


# --- Answers --------------------------------------------------------------------------------------------------------
class ImageSerializer(serializers.ModelSerializer):
    """A picture. The links are stable and need the same credentials; they lead to short-lived ones."""

    bytes = serializers.IntegerField(source="size_bytes")
    url = serializers.SerializerMethodField()
    preview_url = serializers.SerializerMethodField()
    thumbnail_url = serializers.SerializerMethodField()

    class Meta:
        model = Image
        fields = (
            "id", "index", "seed", "width", "height", "bytes", "sha256", "url", "preview_url", "thumbnail_url",
            "expires_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, image: Image) -> str:
        return self._link(image, "original")

    @extend_schema_field(OpenApiTypes.URI)
    def get_preview_url(self, image: Image) -> str:
        return self._link(image, "preview")

    @extend_schema_field(OpenApiTypes.URI)
    def get_thumbnail_url(self, image: Image) -> str:
        return self._link(image, "thumbnail")

    def _link(self, image: Image, variant: str) -> str:
        assert variant in storage.VARIANTS
        return str(reverse("api:image", args=[image.pk, variant], request=self.context["request"]))


class ProgressSerializer(serializers.Serializer):
    """Where an open job is. Zero and empty: not known."""

    phase = serializers.CharField(
        help_text="While processing: loading, drawing, storing; of a training fetching, loading, training."
    )
    steps_done = serializers.IntegerField()
    steps_total = serializers.IntegerField()
    position = serializers.IntegerField(help_text="While queued: 1 is next.")
    seconds_left = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField(help_text="While queued: why it waits, in words.")


class FailureSerializer(serializers.Serializer):
    """Why a job failed. It was not charged."""

    code = serializers.CharField(source="failure_code")
    message = serializers.CharField(source="failure")


class JobStatusSerializer(serializers.ModelSerializer):
    """A job in short."""

    status = serializers.ChoiceField(choices=Job.Status.choices)
    progress = serializers.SerializerMethodField(allow_null=True)
    failure = serializers.SerializerMethodField(allow_null=True)
    images = serializers.SerializerMethodField()
    credits_quoted = AmountField(source="quoted_centi")
    credits_charged = AmountField(source="charged_centi")

    class Meta:
        model = Job
        fields = ("id", "status", "progress", "failure", "images", "credits_quoted", "credits_charged")
        read_only_fields = fields

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, job: Job) -> dict[str, Any] | None:
        return None if job.is_over else dict(ProgressSerializer(queries.progress_of(job)).data)

    @extend_schema_field(FailureSerializer)
    def get_failure(self, job: Job) -> dict[str, Any] | None:
        return dict(FailureSerializer(job).data) if job.status == Job.Status.FAILED else None

    @extend_schema_field(ImageSerializer(many=True))
    def get_images(self, job: Job) -> list[Any]:
        if job.status != Job.Status.COMPLETED:
            return []
        return list(ImageSerializer(job.images.all(), many=True, context=self.context).data)


class JobSerializer(JobStatusSerializer):
    """Everything that a person may know about a job."""

    progress = None  # type: ignore[assignment]  # of one job: GET /api/v1/generate/{id}
    size = serializers.SerializerMethodField()
    custom_model = serializers.UUIDField(
        source="model_version.model_id",
        default=None,
        allow_null=True,
        help_text="Of the team's own: it was drawn with it.",
    )
    version = serializers.IntegerField(source="model_version.number", default=None, allow_null=True)
    images_blocked = serializers.SerializerMethodField(help_text="Made, but stopped by the image check; not charged.")
    credits_per_image = AmountField(source="quote.unit_centi")
    credits_returned = serializers.SerializerMethodField(allow_null=True, help_text="null while the job is open.")

    class Meta:
        model = Job
        fields = (
            "id", "status", "failure", "images", "images_blocked",
            "prompt", "expanded_prompt", "negative_prompt", "expander", "expansion_note", "style", "franchise",
            "product", "model", "model_revision", "reference_model", "custom_model", "version",
            "size", "width", "height", "quality", "count", "seed",
            "num_inference_steps", "guidance_scale",
            "credits_per_image", "credits_quoted", "credits_charged", "credits_returned",
            "created_at", "claimed_at", "finished_at", "device_ms", "processing_ms", "stored_bytes",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.STR)
    def get_size(self, job: Job) -> str:
        return size_name(job.width, job.height)

    @extend_schema_field(OpenApiTypes.INT)
    def get_images_blocked(self, job: Job) -> int:
        return len(job.metadata.get("blocked", ()))

    @extend_schema_field(AmountField)
    def get_credits_returned(self, job: Job) -> str | None:
        """The context has the `holds` of all jobs that it is asked about: a pass may have paid a part of the quote."""
        hold = self.context["holds"].get(str(job.pk))
        return plain(max(0, hold.amount_centi - job.charged_centi)) if hold and job.is_over else None


class JobDetailSerializer(JobSerializer):
    """A job and its receipt, which stands in the context."""

    receipt = serializers.SerializerMethodField(allow_null=True)

    class Meta:
        model = Job
        fields = (*JobSerializer.Meta.fields, "receipt")
        read_only_fields = fields

    @extend_schema_field(ReceiptSerializer)
    def get_receipt(self, job: Job) -> dict[str, Any] | None:
        receipt = self.context["receipt"]
        return dict(ReceiptSerializer(receipt).data) if receipt else None


class JobPageSerializer(serializers.Serializer):
    """One page of jobs, newest first."""

    items = JobSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ExpansionSerializer(serializers.Serializer):
    """What the engine would be given for a prompt."""

    prompt = serializers.CharField(help_text="Your words, tidied.")
    expanded_prompt = serializers.CharField()
    negative_prompt = serializers.CharField()
    style = serializers.CharField(help_text="The style you chose or named; may be empty.")
    franchise = serializers.CharField()
    expander = serializers.CharField(help_text="gemini, local, or person; empty: nobody.")
    note = serializers.CharField(help_text="Why it is our own expansion although Gemini was asked; mostly empty.")


class StyleSerializer(serializers.ModelSerializer):
    """A look to choose by its slug."""

    preview_url = serializers.SerializerMethodField(allow_null=True)

    class Meta:
        model = Style
        fields = ("slug", "name", "description", "preview_url")
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.URI)
    def get_preview_url(self, style: Style) -> str | None:
        path = style_preview(style.slug)
        return str(self.context["request"].build_absolute_uri(path)) if path else None
