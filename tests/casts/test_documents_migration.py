"""Documents from before they were kept as text, on a database that `manage.py migrate` brings up to date."""

from __future__ import annotations

import json

BEFORE = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

executor = MigrationExecutor(connection)
executor.migrate([("casts", "0009_fewer_indexes"), ("accounts", "0006_callback_secrets")])
old = executor.loader.project_state([("casts", "0009_fewer_indexes"), ("accounts", "0006_callback_secrets")]).apps
model = lambda name: old.get_model(*name.split("."))
now = timezone.now()
document = {"zeta": 1, "b": [2.5, None, True], "aa": 'it\\'s "so" \\u2603 \\\\ %s', "a": 2**70}
account = model("accounts.Account").objects.create(name="Old")
spell = model("casts.Spell").objects.create(key="old", name="Old", input_schema=document, output_schema=None)
for number in (1, 2):
    cast = model("casts.Cast").objects.create(
        account=account, spell=spell, repository="o/n", cost_cents=0, created_at=now, expires_at=now,
        input=document if number == 1 else [], metadata={"b": "x", "a": "y"}, jobs=[{"id": 1}],
        output=[1e-7] if number == 1 else None, error=None, observation={},
    )
    model("casts.CastEvent").objects.create(cast=cast, seq=1, kind="accepted", data=document, at=now)
model("casts.IdempotencyRecord").objects.create(account=account, route="cast", key="k", body=document, created_at=now)
call_command("migrate", verbosity=0)
"""
READ = """
import json, sys
import django
django.setup()
from django.db import connection
from core.db.documents import TextAt
from casts.models import Cast, CastEvent, IdempotencyRecord, Spell

with connection.cursor() as cursor:
    columns = {
        f"{model.__name__}.{c.name}": connection.introspection.get_field_type(c.type_code, c)
        for model in (Cast, CastEvent, IdempotencyRecord, Spell)
        for c in connection.introspection.get_table_description(cursor, model._meta.db_table)
    }
names = ("input", "metadata", "jobs", "output", "error", "observation")
print(json.dumps({
    "casts": list(Cast.objects.order_by("created_at", "pk").values(*names)),
    "found": Cast.objects.annotate(b=TextAt("metadata", "b")).filter(b="x").count(),
    "events": list(CastEvent.objects.values_list("data", flat=True)),
    "records": list(IdempotencyRecord.objects.values_list("body", flat=True)),
    "spells": list(Spell.objects.values("input_schema", "output_schema")),
    "text": sorted(n for n, c in columns.items() if c == "TextField"),
}))
"""
DOCUMENT = {"zeta": 1, "b": [2.5, None, True], "aa": 'it\'s "so" ☃ \\ %s', "a": 2**70}
AGAIN = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", "casts", "0009", verbosity=0)
call_command("migrate", verbosity=0)
"""


def test_old_documents_are_read_as_before_and_the_way_back_is_open(script):
    script(BEFORE)
    for _ in range(2):
        read = json.loads(script(READ))
        first, second = read["casts"]
        same = {"metadata": {"b": "x", "a": "y"}, "jobs": [{"id": 1}], "error": None, "observation": {}}
        assert first == {"input": DOCUMENT, "output": [1e-7], **same}
        assert second == {"input": [], "output": None, **same}
        assert read["events"] == [DOCUMENT] * 2
        assert read["records"] == [DOCUMENT]
        assert read["spells"] == [{"input_schema": DOCUMENT, "output_schema": None}]
        assert read["found"] == 2
        kept_as_text = {
            "Cast.input",
            "Cast.output",
            "CastEvent.data",
            "IdempotencyRecord.body",
            "Spell.input_schema",
        }
        assert kept_as_text <= set(read["text"])
        script(AGAIN)
