"""Spells from before their targets had a table, on a database that `manage.py migrate` brings up to date."""

from __future__ import annotations

import json

BEFORE = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

at = [("casts", "0014_answer_lost"), ("github_integration", "0004_recent_runs")]
executor = MigrationExecutor(connection)
executor.migrate(at)
Spell = executor.loader.project_state(at).apps.get_model("casts", "Spell")
Spell.objects.create(key="blank", name="Blank")
Spell.objects.create(
    key="full", name="Full", repository="demo/spells", workflow_file="cast.yml", ref="v2", installation_id=2**40,
    carries_token=True,
)
Spell.objects.create(key="event", name="Event", runtime="repository_dispatch", event_type="go")
call_command("migrate", verbosity=0)
"""
BACK = """
import json
import django
django.setup()
from django.core.management import call_command
from django.db import connection
call_command("migrate", "github_integration", "0005", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute(
        "SELECT key, repository, workflow_file, ref, event_type, installation_id FROM casts_spell ORDER BY key"
    )
    print(json.dumps(cursor.fetchall()))
call_command("migrate", verbosity=0)
"""
READ = """
import json
import django
django.setup()
from casts.models import Spell
from github_integration.models import WorkflowTarget
names = ("repository", "workflow_file", "ref", "event_type", "installation_id")
print(json.dumps(list(WorkflowTarget.objects.order_by("spell__key").values_list("spell__key", *names))))
assert list(Spell.objects.filter(tags_runs=True).values_list("key", flat=True)) == ["full"]
"""
TARGETS = [
    ["blank", "", "", "", "", None],
    ["event", "", "", "", "go", None],
    ["full", "demo/spells", "cast.yml", "v2", "", 2**40],
]


def test_old_spells_keep_where_they_run_and_the_way_back_is_open(script):
    script(BEFORE)
    assert json.loads(script(READ)) == TARGETS
    assert json.loads(script(BACK)) == TARGETS
    assert json.loads(script(READ)) == TARGETS
