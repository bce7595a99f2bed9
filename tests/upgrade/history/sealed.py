"""Secrets from before they were encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.apps.registry import Apps
from django.db import connection

from accounts.models import Account
from casts.models import CallbackEndpoint

AT = [("accounts", "0011_sessions"), ("casts", "0021_failed_steps")]
ACCOUNTS = {"sealed-a": ["whsec_b", "whsec_a"], "sealed-b": []}
ENDPOINTS = {"ep_1": ["whsec_c"], "ep_2": []}
COLUMNS = (("accounts_account", "name", "callback_secrets"), ("casts_callbackendpoint", "id", "secrets"))


def stored() -> Iterator[dict[str, str]]:
    """Yield what the tables hold, by names: in accounts, and in endpoints."""
    for (table, key, column), names in zip(COLUMNS, (ACCOUNTS, ENDPOINTS), strict=True):
        with connection.cursor() as cursor:
            there = {found.name for found in connection.introspection.get_table_description(cursor, table)}
            (held,) = {column, f"sealed_{column}"} & there
            cursor.execute(f"SELECT {key}, {held} FROM {table}")
            rows = {name: value for name, value in cursor.fetchall() if name in names}
        yield {name: value if isinstance(value, str) else json.dumps(value) for name, value in rows.items()}


def begin(old: Apps) -> None:
    accounts: Any = old.get_model("accounts", "Account")
    endpoints: Any = old.get_model("casts", "CallbackEndpoint")
    for name, secrets in ACCOUNTS.items():
        account = accounts.objects.create(name=name, callback_secrets=secrets)
    for name, secrets in ENDPOINTS.items():
        endpoints.objects.create(id=name, account=account, url="https://example.com/", secrets=secrets)


def check() -> None:
    """They are encrypted, and read as before."""
    accounts, endpoints = stored()
    assert "whsec" not in f"{accounts}{endpoints}"
    assert {name: bool(value) for name, value in accounts.items()} == {"sealed-a": True, "sealed-b": False}
    assert {name: bool(value) for name, value in endpoints.items()} == {"ep_1": True, "ep_2": False}
    assert {a.name: a.callback_secrets for a in Account.objects.filter(name__in=ACCOUNTS)} == ACCOUNTS
    assert {e.pk: e.secrets for e in CallbackEndpoint.objects.all()} == ENDPOINTS


def check_back() -> None:
    """On the way back they are what they were."""
    assert [{name: json.loads(value) for name, value in column.items()} for column in stored()] == [ACCOUNTS, ENDPOINTS]
