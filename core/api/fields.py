"""Fields that accept exactly what they say, and the shape of problems."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from rest_framework import serializers

from core import limits, safe_http


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses names that it does not know: a misspelt option must not be ignored.

    null for an optional field is the same as leaving it out, since many clients write all fields that they know. Not in
    a partial update, where it may as well mean to remove the value.
    """

    null_counts: tuple[str, ...] = ()  # fields that may be left out and for which null is a value

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            field.allow_null = field.allow_null or not (field.required or self.partial)
        return fields

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, dict) else set()
        if unknown:
            raise serializers.ValidationError(self._not_known(unknown))
        if isinstance(data, dict) and not self.partial:
            optional = {name for name, field in self.fields.items() if not field.required} - set(self.null_counts)
            data = {name: value for name, value in data.items() if value is not None or name not in optional}
        return super().to_internal_value(data)

    def _not_known(self, unknown: set[str]) -> dict[str, list[str]]:
        known = ", ".join(self.fields)
        told = {name: [f"Not known here. Known: {known}."] for name in sorted(unknown)[: limits.UNKNOWN_NAMES]}
        if more := len(unknown) - len(told):
            told["non_field_errors"] = [f"{more} more names are not known here."]
        return told


@cache
def _shared(kind: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """Return a serializer without data, which keeps nothing of what it checks: threads can share it."""
    return kind()


def validated(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """Return what a serializer makes of data. Raise ValidationError with all that is wrong.

    A serializer of one's own for each request copies all of its fields first, which takes longer than the check.
    """
    try:
        return cast(dict[str, Any], _shared(kind).run_validation(data))
    except serializers.ValidationError:
        told = kind(data=data)  # it words what is wrong
        told.is_valid(raise_exception=True)
        return cast(dict[str, Any], told.validated_data)


class FewList(serializers.ListField):
    """A list that is counted before what is in it is looked at."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse more than `max_length` items as they are."""
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    """An integer; not text that looks like one, and not true."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """true or false; not text that looks like one."""

    def to_internal_value(self, data: Any) -> bool:
        """Refuse what is not a JSON boolean."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictCharField(serializers.CharField):
    """Text; not a number or a boolean that could be read as one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


def valid_callback_url(url: str) -> None:
    """Raise ValidationError, with the reason, for an address that would never be called."""
    try:
        safe_http.target_of(url)
    except safe_http.BadAddress as exc:
        raise serializers.ValidationError(str(exc)) from exc
