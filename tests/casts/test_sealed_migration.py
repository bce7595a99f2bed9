"""Secrets from before they were encrypted: `manage.py migrate` encrypts them, and the way back is open."""

from __future__ import annotations

import json

HEAD = """
import json
import django
django.setup()
from django.core.management import call_command
from django.db import connection
def stored():
    with connection.cursor() as cursor:
        for table, column in (("accounts_account", "callback_secrets"), ("casts_callbackendpoint", "secrets")):
            for name in (column, f"sealed_{column}"):
                if name in {c.name for c in connection.introspection.get_table_description(cursor, table)}:
                    cursor.execute(f"SELECT {name} FROM {table} ORDER BY id")
                    yield [v if isinstance(v, str) else json.dumps(v) for v, in cursor.fetchall()]
"""
BEFORE = f"""{HEAD}
from django.db.migrations.executor import MigrationExecutor
at = [("accounts", "0011_sessions"), ("casts", "0021_failed_steps")]
MigrationExecutor(connection).migrate(at)
old = MigrationExecutor(connection).loader.project_state(at).apps
for name, secrets in (("a", ["whsec_b", "whsec_a"]), ("b", [])):
    account = old.get_model("accounts", "Account").objects.create(name=name, callback_secrets=secrets)
for name, secrets in (("ep_1", ["whsec_c"]), ("ep_2", [])):
    old.get_model("casts", "CallbackEndpoint").objects.create(
        id=name, account=account, url="https://example.com/", secrets=secrets
    )
call_command("migrate", verbosity=0)
print(json.dumps(list(stored())))
"""
READ = f"""{HEAD}
from accounts.models import Account
from casts.models import CallbackEndpoint
print(json.dumps([[a.callback_secrets for a in Account.objects.order_by("id")],
    [e.secrets for e in CallbackEndpoint.objects.order_by("id")]]))
"""
BACK = f"""{HEAD}
call_command("migrate", "accounts", "0011", verbosity=0)
call_command("migrate", "casts", "0021", verbosity=0)
print(json.dumps([[json.loads(value) for value in column] for column in stored()]))
call_command("migrate", verbosity=0)
"""
SECRETS = [[["whsec_b", "whsec_a"], []], [["whsec_c"], []]]


def test_secrets_that_were_there_are_encrypted_and_the_way_back_is_open(script):
    before = script(BEFORE)
    assert "whsec" not in before
    assert [[bool(value) for value in column] for column in json.loads(before)] == [[True, False], [True, False]]
    assert json.loads(script(READ)) == SECRETS
    assert json.loads(script(BACK)) == SECRETS
    assert json.loads(script(READ)) == SECRETS
