"""`manage.py migrate` beside processes that work on the same tables."""

from __future__ import annotations

from typing import Any
from unittest import mock

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import connection

from casts.models import CastTally
from core.management.commands import migrate as ours


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite everything stops for an update")
def test_a_table_that_is_in_use_is_not_waited_for_while_others_wait_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def alter(*args: Any, **options: Any) -> None:
        CastTally.objects.exists()

    held = connection.get_connection_params()
    held = {name: held[name] for name in ("dbname", "host", "port", "user", "password", "options") if held.get(name)}
    monkeypatch.setattr(ours, "LOCK_SECONDS", 0.1)
    with psycopg.connect(**held) as other, mock.patch.object(migrate.Command, "handle", alter):
        other.execute("LOCK TABLE casts_casttally IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(CommandError, match="give the command again"):
            call_command("migrate")
        other.rollback()
        call_command("migrate")
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)
