"""Request fields that take JSON as it is: `true` is not 1, "3" is not 3, and an unknown field is a mistake."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

UNKNOWN_FIELDS_SHOWN_MAX = 10
NAME_CHARS_SHOWN_MAX = 60


class TextField(serializers.CharField):
    """A string. Cleaning and length are the business of `params.make`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"required": False, "allow_blank": True, "allow_null": True} | options, trim_whitespace=False
        )

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, **options)

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class NumberField(serializers.FloatField):
    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, **options)

    def to_internal_value(self, data: Any) -> float:
        if type(data) not in (int, float):
            self.fail("invalid")
        return data  # not `float(data)`: that fails for a whole number of 400 digits, which `make` refuses in words


class SwitchField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know: a misspelt option must not be ignored in silence."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := [name for name in data if name not in self.fields]):
            shown = [name[:NAME_CHARS_SHOWN_MAX] for name in unknown[:UNKNOWN_FIELDS_SHOWN_MAX]]
            raise serializers.ValidationError({name: [f"There is no field {name!r}."] for name in shown})
        return super().to_internal_value(data)
