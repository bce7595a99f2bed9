"""Factories with plain defaults, shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.test import Client
from hypothesis import settings as hypothesis_settings

from accounts import keys
from accounts.models import SCOPES, Account, ApiKey
from casts.models import Spell
from tests import described
from tests.spells import stored_spell

# A landing must not depend on what chance draws; everybody else's runs go on searching.
hypothesis_settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis_settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _every_answer_is_as_described() -> Iterator[None]:
    """Hold whatever the API answers to Django's test client against its own description."""
    ask = Client.generic

    def asked(client: Client, method: str, path: str, data: Any = "", *args: Any, **options: Any) -> Any:
        response = ask(client, method, path, data, *args, **options)
        if not response.streaming:
            media_type = response.headers.get("Content-Type", "")
            described.check(method, path, response.status_code, media_type, response.content)
            if response.status_code < 300 and data:
                described.check_request(method, path, data)
        return response

    with mock.patch.object(Client, "generic", asked):
        yield


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Unseen University", monthly_cap_cents=10_000)


@pytest.fixture
def key_and_secret(account: Account) -> tuple[ApiKey, str]:
    return keys.create(account, name="tests", scopes=list(SCOPES))


@pytest.fixture
def api_key(key_and_secret: tuple[ApiKey, str]) -> ApiKey:
    return key_and_secret[0]


@pytest.fixture
def secret(key_and_secret: tuple[ApiKey, str]) -> str:
    return key_and_secret[1]


@pytest.fixture
def make_spell(db: None) -> Any:
    """Make a spell; any field may be given."""

    def make(key: str = "greet", **fields: Any) -> Spell:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False}
        return stored_spell(
            **{"key": key, "name": key.title(), "repository": "demo/spells", "workflow_file": "cast.yml"}
            | {"input_schema": schema, "price_cents": 5}
            | fields
        )

    return make


@pytest.fixture
def spell(make_spell: Any) -> Spell:
    found: Spell = make_spell()
    return found


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let tests empty the ledger between them: on SQLite a flush is DELETE, which the ledger's trigger refuses.

    That it refuses is proved on a database of its own (tests/accounts/test_ledger.py).
    """
    with django_db_blocker.unblock():
        if connection.vendor == "sqlite":
            connection.cursor().execute("DROP TRIGGER accounts_ledger_no_delete")
