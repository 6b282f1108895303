"""How credits read in the REST interface. Amounts are strings with two decimals."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import ApiKey
from credits.amounts import parse, plain
from credits.models import Entry, Pass
from credits.queries import State
from credits.words import origin, work
from tenkaigen.strict import StrictSerializer

PAGE_MAX = 100
AMOUNT_CHARS_MAX = 20


@extend_schema_field({"type": "string", "pattern": r"^-?\d+\.\d\d$", "example": "6.00"})
class AmountField(serializers.Field):
    """Hundredths of a credit as `"6.00"`, so that no client makes a float of it."""

    default_error_messages = {"invalid": 'Send an amount of credits in a string, as "6.00".'}

    def to_representation(self, value: int) -> str:
        return plain(value)

    def to_internal_value(self, data: Any) -> int:
        try:
            if not isinstance(data, str) or len(data) > AMOUNT_CHARS_MAX or (amount := parse(data)) < 0:
                self.fail("invalid")
        except ValueError:
            self.fail("invalid")
        return amount


# --- Requests -------------------------------------------------------------------------------------------------------
class HistoryRequestSerializer(StrictSerializer):
    limit = serializers.IntegerField(min_value=1, max_value=PAGE_MAX, default=50)
    kind = serializers.ChoiceField(choices=Entry.Kind.choices, required=False)
    cursor = serializers.CharField(required=False)


class PassListRequestSerializer(StrictSerializer):
    limit = serializers.IntegerField(min_value=1, max_value=PAGE_MAX, default=50)
    cursor = serializers.CharField(required=False, max_length=200)


# --- Answers --------------------------------------------------------------------------------------------------------
class KeySerializer(serializers.Serializer):
    """An API key, as the program that holds it may see it."""

    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)
    spent_credits = serializers.SerializerMethodField(help_text="In this calendar month (UTC), set aside included.")
    cap_credits = serializers.SerializerMethodField(help_text="What it may spend in a month; null: no cap of its own.")
    resets_at = serializers.SerializerMethodField(help_text="When the next month begins.")

    @extend_schema_field(AmountField)
    def get_spent_credits(self, key: ApiKey) -> str:
        return plain(self.context["use"].spent_centi)

    @extend_schema_field(AmountField(allow_null=True))
    def get_cap_credits(self, key: ApiKey) -> str | None:
        return None if key.monthly_cap_centi is None else plain(key.monthly_cap_centi)

    @extend_schema_field(serializers.DateTimeField)
    def get_resets_at(self, key: ApiKey) -> str:
        return str(self.context["use"].resets_at.isoformat().replace("+00:00", "Z"))


class SummarySerializer(serializers.Serializer):
    """The five figures about a team's credits."""

    available_credits = AmountField(help_text="What can be spent now, bonus included.")
    reserved_credits = AmountField(help_text="Set aside for jobs that have not ended.")
    bonus_credits = AmountField(help_text="The part of the available credits that was a gift.")
    total_allocated = AmountField(help_text="Granted by everything that is in force now, whatever is left of it.")
    next_replenishment_at = serializers.DateTimeField(
        allow_null=True, help_text="When the plan's next month begins; null where none will."
    )


class EntrySerializer(serializers.ModelSerializer):
    number = serializers.IntegerField(source="seq")
    unit = serializers.CharField(source="grant.unit", help_text="`credit`, or `image` for images of a pass.")
    amount = AmountField(source="amount_centi")
    available_after = AmountField(source="available_after_centi")
    reserved_after = AmountField(source="held_after_centi")
    debt_after = AmountField(source="debt_after_centi")
    source = serializers.CharField(source="grant.source", help_text="Where the credits came from.")
    what = serializers.SerializerMethodField(help_text="In words: the job's work, or the origin of the credits.")
    job = serializers.UUIDField(source="hold.job_id", default=None, allow_null=True)

    class Meta:
        model = Entry
        fields = (
            *("number", "created_at", "kind", "unit", "amount", "available_after", "reserved_after", "debt_after"),
            *("source", "what", "job", "reason"),
        )

    def get_what(self, entry: Entry) -> str:
        return work(entry.hold.quote) if entry.hold else origin(entry.grant)


class HistorySerializer(serializers.Serializer):
    items = EntrySerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class PassSerializer(serializers.ModelSerializer):
    """A pass and its state at this moment. Serializes a `PassState`."""

    id = serializers.UUIDField(source="of.pk")
    name = serializers.CharField(source="of.name")
    state = serializers.ChoiceField(choices=[(state.value, state.value) for state in State])
    images = serializers.IntegerField(source="of.images")
    images_left = serializers.IntegerField(help_text="0 when it is over.")
    videos = serializers.IntegerField(source="of.videos")
    minutes = serializers.IntegerField(source="of.minutes", help_text="How long it lasts from its start.")
    side_px_max = serializers.IntegerField(source="of.side_px_max", help_text="Longest side of a picture it covers.")
    seconds_left = serializers.IntegerField(allow_null=True, help_text="null: it has not been started.")
    ends_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField(source="of.created_at")

    class Meta:
        model = Pass
        fields = (
            "id", "name", "state", "images", "images_left", "videos", "minutes", "side_px_max", "seconds_left",
            "ends_at", "created_at",
        )  # fmt: skip


class PassPageSerializer(serializers.Serializer):
    """One page of passes, newest first."""

    items = PassSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class QuoteSerializer(serializers.Serializer):
    """What something costs now, and how the team would pay it. Nothing is set aside."""

    kind = serializers.CharField(source="quote.kind")
    unit_price = AmountField(source="quote.unit_centi", help_text="Of one image, or of the whole training.")
    count = serializers.IntegerField(source="quote.count")
    total = AmountField(source="quote.total_centi", help_text="Without any pass.")
    pass_images = serializers.IntegerField(source="preview.pass_images", help_text="So many of them a pass pays.")
    credits_to_pay = AmountField(source="preview.credits_centi", help_text="For the rest.")
    price_version = serializers.CharField(source="quote.version")
    factors = serializers.DictField(source="quote.facts", help_text="What was asked for, and what made the price.")
    can_pay = serializers.BooleanField(source="preview.affordable")
    problem = serializers.CharField(
        source="preview.problem", help_text="Why it cannot: insufficient_credits, wallet_frozen; empty where it can."
    )


class ReceiptSerializer(serializers.Serializer):
    """What a job came to. Serializes a `JobReceipt`."""

    quoted = AmountField(source="quote.total_centi", help_text="The price without any pass.")
    unit_price = AmountField(source="quote.unit_centi")
    count = serializers.IntegerField(source="quote.count")
    reserved = AmountField(source="reserved_centi", help_text="Credits that were set aside.")
    charged = AmountField(source="charged_centi")
    released = AmountField(source="released_centi", help_text="Of those set aside; 0.00 while the job is open.")
    uncollected = AmountField(
        source="uncollected_centi", help_text="Delivered when the team could not pay any more; nobody is asked for it."
    )
    pass_images = serializers.IntegerField(help_text="Images that a pass was to pay.")
    pass_images_charged = serializers.IntegerField()
    price_version = serializers.CharField(source="quote.version")
    factors = serializers.DictField(source="quote.facts")
    is_final = serializers.BooleanField()
    reserved_at = serializers.DateTimeField(source="first.created_at")
    settled_at = serializers.DateTimeField(source="last.settled_at", allow_null=True)
    entries = EntrySerializer(many=True, help_text="The movements of the job, oldest first.")
