"""How credits read in the REST interface. Amounts are strings with two decimals."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from credits.amounts import plain
from credits.models import Entry


@extend_schema_field(OpenApiTypes.STR)
class AmountField(serializers.Field):
    """Hundredths of a credit as `"6.00"`."""

    def to_representation(self, value: int) -> str:
        return plain(value)


class EntrySerializer(serializers.ModelSerializer):
    number = serializers.IntegerField(source="seq")
    amount = AmountField(source="amount_centi")
    available_after = AmountField(source="available_after_centi")
    reserved_after = AmountField(source="held_after_centi")
    unit = serializers.CharField(source="grant.unit", help_text="`credit`, or `image` for images of a pass.")
    source = serializers.CharField(source="grant.source", help_text="Where the credits came from.")
    job = serializers.UUIDField(source="hold.job_id", default=None, allow_null=True)

    class Meta:
        model = Entry
        fields = (
            *("number", "created_at", "kind", "unit", "amount", "available_after", "reserved_after"),
            *("source", "job", "reason"),
        )


class HistoryRequestSerializer(serializers.Serializer):
    limit = serializers.IntegerField(min_value=1, max_value=100, default=50)
    kind = serializers.ChoiceField(choices=Entry.Kind.choices, required=False)
    cursor = serializers.CharField(required=False)


class HistorySerializer(serializers.Serializer):
    items = EntrySerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)
