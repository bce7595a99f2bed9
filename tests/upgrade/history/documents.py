"""Documents from before they were kept as text."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db import connection
from django.utils import timezone

from casts.models import Cast, CastEvent, IdempotencyRecord, Spell
from core.db.documents import TextAt

AT = [("casts", "0009_fewer_indexes"), ("accounts", "0006_callback_secrets")]
DOCUMENT = {"zeta": 1, "b": [2.5, None, True], "aa": 'it\'s "so" ☃ \\ %s', "a": 2**70}
NAME = "documents"
KEPT_AS_TEXT = {
    *("Cast.input", "Cast.output", "CastEvent.data", "IdempotencyRecord.body", "Spell.input_schema"),
}


def begin(old: Apps) -> None:
    def model(label: str) -> Any:
        app, _, name = label.partition(".")
        return old.get_model(app, name)

    now = timezone.now()
    account = model("accounts.Account").objects.create(name=NAME)
    spell = model("casts.Spell").objects.create(key=NAME, name="Old", input_schema=DOCUMENT, output_schema=None)
    for number in (1, 2):
        cast = model("casts.Cast").objects.create(
            **{"account": account, "spell": spell, "repository": "o/n", "cost_cents": 0},
            **{"created_at": now, "expires_at": now, "input": DOCUMENT if number == 1 else []},
            **{"metadata": {"b": "x", "a": "y"}, "jobs": [{"id": 1}], "output": [1e-7] if number == 1 else None},
            **{"error": None, "observation": {}},
        )
        model("casts.CastEvent").objects.create(cast=cast, seq=1, kind="accepted", data=DOCUMENT, at=now)
    records = model("casts.IdempotencyRecord").objects
    records.create(account=account, route="cast", key="k", body=DOCUMENT, created_at=now)


def check() -> None:
    """They are read as before."""
    casts = Cast.objects.filter(spell__key=NAME)
    names = ("input", "metadata", "jobs", "output", "error", "observation")
    same = {"metadata": {"b": "x", "a": "y"}, "jobs": [{"id": 1}], "error": None, "observation": {}}
    assert list(casts.order_by("created_at", "pk").values(*names)) == [
        {"input": DOCUMENT, "output": [1e-7], **same},
        {"input": [], "output": None, **same},
    ]
    assert list(CastEvent.objects.filter(cast__in=casts).values_list("data", flat=True)) == [DOCUMENT] * 2
    assert [record.body for record in IdempotencyRecord.objects.filter(account__name=NAME)] == [DOCUMENT]
    (spell,) = Spell.objects.filter(key=NAME).values("input_schema", "output_schema")
    assert spell == {"input_schema": DOCUMENT, "output_schema": None}
    assert casts.annotate(b=TextAt("metadata", "b")).filter(b="x").count() == 2
    with connection.cursor() as cursor:
        columns = {
            f"{model.__name__}.{column.name}": connection.introspection.get_field_type(column.type_code, column)
            for model in (Cast, CastEvent, IdempotencyRecord, Spell)
            for column in connection.introspection.get_table_description(cursor, model._meta.db_table)
        }
    assert {name for name, kind in columns.items() if kind == "TextField"} >= KEPT_AS_TEXT


def check_back() -> None:
    """The way back is open; what it leads to is read on the way forth again."""
