"""Spells and open casts from before there were versions, on a database that `manage.py migrate` brings up to date."""

from __future__ import annotations

import json

BEFORE = """
import datetime as dt
import uuid
import django
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from accounts import budget, keys
from accounts.models import Account

at = [("casts", "0023_metadata_marks"), ("github_integration", "0007_turns_of_accounts")]
latest = MigrationExecutor(connection).loader.graph.leaf_nodes("accounts")
MigrationExecutor(connection).migrate([*at, *latest])
old = MigrationExecutor(connection).loader.project_state(at).apps
Spell, Cast, Event, Target = (
    old.get_model("casts", "Spell"), old.get_model("casts", "Cast"), old.get_model("casts", "CastEvent"),
    old.get_model("github_integration", "WorkflowTarget"),
)
account = Account.objects.create(name="Old", monthly_cap_cents=1000)
key, _ = keys.create(account, name="old", scopes=["casts:write"])
spell = Spell.objects.create(
    key="greet", name="Greet", price_cents=5, input_schema={"zeta": 1, "a": 1e22}, timeout_seconds=60,
)
Target.objects.create(spell=spell, repository="demo/spells", workflow_file="cast.yml", ref="v1", installation_id=2**40)
Spell.objects.create(key="bare", name="Bare", runtime="repository_dispatch")
now = timezone.now()
sent = {"dispatch_started_at": now, "dispatched_at": now, "run_key": "7", "dispatch_attempts": 1}
for number, fields in ((1, {}), (2, sent)):
    with transaction.atomic():
        cast = Cast.objects.create(
            id=uuid.UUID(int=number), account_id=account.pk, api_key_id=key.pk, spell=spell, input={"name": "Ada"},
            cost_cents=5, created_at=now, expires_at=now + dt.timedelta(hours=1), due_at=now, last_seq=1,
            run_scope="demo/spells", **fields,
        )
        Event.objects.create(cast=cast, seq=1, kind="accepted", data={}, at=now)
        budget.hold(account, cast_id=cast.pk, cents=5, at=now, api_key_id=key.pk, spell_key="greet")
call_command("migrate", verbosity=0)
"""
READ = """
import json
import django
django.setup()
from casts import versions
from casts.models import Cast, Spell, SpellVersion
rows = SpellVersion.objects.order_by("spell__key").values_list("spell__key", "number", "definition")
assert [versions.keep(spell) for spell in Spell.objects.order_by("key")] == [1, 1]  # they say what the code says
assert set(Cast.objects.values_list("spell_version", flat=True)) == {None}
print(json.dumps(list(rows)))
"""
WORK = """
import datetime as dt
import json
import django
from django.conf import settings
settings.SPELL_RUNTIMES = dict.fromkeys(settings.SPELL_RUNTIMES, "tests.casts.fake.FakeRuntime")
django.setup()
from casts.execution.steps import CastWork
from casts.models import Cast, Spell
from casts.runtime import Observation, runtime_for
from tests.casts.fake import jobs_of
from django.utils import timezone
from accounts.models import LedgerEntry

spell = Spell.objects.get(key="greet")
spell.price_cents = 9
spell.save()
ended = lambda cast: Observation(
    cast.run_scope, cast.run_key, status="completed", conclusion="success", jobs=jobs_of("completed", "success")
)
runtime_for("workflow_dispatch").answers["observe"] = ended
for _ in range(8):
    Cast.objects.exclude(due_at=None).update(due_at=timezone.now())
    for row in Cast.due_rows().claim(limit=10, lease=dt.timedelta(seconds=30)):
        row.give_back(CastWork().step(row))
print(json.dumps([list(Cast.objects.order_by("pk").values_list("status", "charged_cents")), spell.version]))
print(LedgerEntry.objects.filter(kind="capture").count())
"""


def test_old_spells_become_version_one_and_old_casts_run_to_their_end(script):
    script(BEFORE)
    bare, greet = json.loads(script(READ))
    assert bare[1] == greet[1] == 1
    told = greet[2]
    assert (told["repository"], told["ref"], told["installation_id"]) == ("demo/spells", "v1", 2**40)
    assert list(told["input_schema"]) == ["zeta", "a"]
    assert (told["price_cents"], told["input_mapping"], told["declared_inputs"]) == (5, "envelope", None)
    assert (bare[2]["runtime"], bare[2]["repository"]) == ("repository_dispatch", "")
    casts, captured = script(WORK).splitlines()
    assert json.loads(casts) == [[["succeeded", 5], ["succeeded", 5]], 2]
    assert captured == "2"
