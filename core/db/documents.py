"""JSON that passes through us, stored as it was accepted on every database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Cast

if TYPE_CHECKING:
    AnyField = models.Field[Any, Any]
else:
    AnyField = models.Field


def written(document: Any) -> str:
    """Return a document as JSON text, with names in the order in which they came, the same wherever it goes.

    Raise ValueError for NaN and infinities, TypeError for what is not JSON.
    """
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class DocumentField(AnyField):
    """A JSON document in a column of text.

    Django's JSONField is jsonb on Postgres, which sorts names and writes 1e22 with 23 digits: what a workflow received
    would depend on the database. There are no lookups inside a document, which would differ as well. None is NULL
    where the column may be NULL, else JSON's null.
    """

    empty_strings_allowed = False

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str | None, expression: object, connection: object) -> Any:
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None and self.null else written(value)

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        try:
            written(value)
        except (TypeError, ValueError) as exc:
            raise ValidationError("This is not JSON: %(why)s", params={"why": str(exc)}) from exc

    def value_to_string(self, obj: models.Model) -> Any:
        # The document, not its text: dumpdata's formats can write it.
        return self.value_from_object(obj)

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": forms.JSONField} | kwargs)


class TextAt(models.Func):
    """The text or the number under one name of a document that is an object, as text; NULL without it."""

    output_field = models.TextField()

    def __init__(self, column: str, name: str) -> None:
        super().__init__(column, Cast(models.Value(name), models.TextField()))

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s)", arg_joiner="::json ->> ", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Not a JSON path, which can't name every key in SQLite, such as one with a quote in it.
        template = "(SELECT value FROM json_each(%(expressions)s))"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") WHERE key = (", **context)


class StoredBytes(models.Func):
    """How many bytes a column of text holds; 0 for NULL."""

    function = "OCTET_LENGTH"
    output_field = models.IntegerField()
    template = "COALESCE(%(function)s(%(expressions)s), 0)"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # OCTET_LENGTH is there since SQLite 3.43 only.
        template = "COALESCE(LENGTH(CAST(%(expressions)s AS BLOB)), 0)"
        return self.as_sql(compiler, connection, template=template, **context)
