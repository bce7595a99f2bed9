"""What stands for what in our paths."""

from __future__ import annotations

import uuid

from django.urls import register_converter
from django.urls.converters import StringConverter, UUIDConverter


class TextConverter(StringConverter):
    """One part of a path, as text that every database takes."""

    def to_python(self, value: str) -> str:
        if "\0" in value:
            raise ValueError("NUL")  # Postgres stores none in text; Django answers 404
        return value


class CastIdConverter(TextConverter):
    """A cast's id, however a client writes UUIDs; anything else stays as it is, for a 404 that names it."""

    def to_python(self, value: str) -> str:
        value = super().to_python(value)
        try:
            return str(uuid.UUID(value))
        except ValueError:
            return value


class AnyCaseUUIDConverter(UUIDConverter):
    """A UUID, also in capitals."""

    regex = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"


register_converter(TextConverter, "text")
register_converter(CastIdConverter, "cast_id")
register_converter(AnyCaseUUIDConverter, "any_uuid")
