"""What every view of the REST interface says of its refusals, for the OpenAPI document."""

from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers


class RefusalSerializer(serializers.Serializer):
    """Every refusal of the interface."""

    code = serializers.CharField(help_text="Stable, for programs.")
    message = serializers.CharField(help_text="For people.")
    fields_ = serializers.DictField(child=serializers.CharField(), required=False)
    price = serializers.CharField(required=False, help_text="With `price_changed`: what it costs now, in credits.")
    cap = serializers.CharField(required=False, help_text="With `key_cap_reached`: what the key may spend in a month.")
    spent = serializers.CharField(required=False, help_text="With `key_cap_reached`: what it has spent.")
    resets_at = serializers.CharField(required=False, help_text="With `key_cap_reached`: when the next month begins.")

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        fields["fields"] = fields.pop("fields_")  # the name is taken on serializers themselves
        return fields


REFUSED = OpenApiResponse(RefusalSerializer, description="Refused; `code` says why.")


def refusals(*statuses: int) -> dict[int, OpenApiResponse]:
    """What a view may answer besides what everybody may."""
    return dict.fromkeys((401, 429, *statuses), REFUSED)
