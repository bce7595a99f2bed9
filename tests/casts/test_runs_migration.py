"""Casts from before a run's id was text, on a database that `manage.py migrate` brings up to date."""

from __future__ import annotations

import json

BEFORE = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

at = [("casts", "0015_targets_moved")]
executor = MigrationExecutor(connection)
executor.migrate(at)
old = MigrationExecutor(connection).loader.project_state(at).apps
account = old.get_model("accounts", "Account").objects.create(name="Old")
spell = old.get_model("casts", "Spell").objects.create(key="old", name="Old")
for number in (None, None, 7_000_000_001, 2**60):
    old.get_model("casts", "Cast").objects.create(
        account=account, spell=spell, repository="Demo/spells", run_id=number, cost_cents=0, input={},
        metadata={"number": str(number), "b": ""},
        created_at=timezone.now(), expires_at=timezone.now(),
    )
call_command("migrate", verbosity=0)
"""
READ = """
import json
import django
django.setup()
from django.db import IntegrityError
from casts.models import Cast, MetadataMark, mark_of
from casts.lifecycle import binding
from casts.runtime import Observation
print(json.dumps(sorted(Cast.objects.values_list("run_scope", "run_key"), key=str)))
for cast in Cast.objects.all():  # lists find it by its metadata
    marks = {mark_of(cast.account_id, name, value) for name, value in cast.metadata.items()}
    assert marks == set(MetadataMark.objects.filter(cast=cast).values_list("mark", flat=True))
assert MetadataMark.objects.count() == 8
for key in ("7000000001", str(2**60)):
    assert binding.find_cast(Observation("demo/spells", key)) == Cast.objects.get(run_key=key).pk
try:
    Cast.objects.filter(run_key=None).update(run_key="7000000001")
except IntegrityError:
    pass
else:
    raise AssertionError("two casts have one run")
"""
BACK = """
import json
import django
django.setup()
from django.core.management import call_command
from django.db import connection
call_command("migrate", "casts", "0015", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute("SELECT repository, run_id FROM casts_cast")
    print(json.dumps(sorted(cursor.fetchall(), key=str)))
call_command("migrate", verbosity=0)
"""


def test_old_casts_keep_their_runs_and_the_way_back_is_open(script):
    numbers = [2**60, 7_000_000_001, None, None]  # in the order of what is printed
    texts = [["Demo/spells", number and str(number)] for number in numbers]
    script(BEFORE)
    assert json.loads(script(READ)) == texts
    assert json.loads(script(BACK)) == [["Demo/spells", number] for number in numbers]
    assert json.loads(script(READ)) == texts
