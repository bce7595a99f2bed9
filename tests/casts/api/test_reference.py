"""What the reference says of each operation is so."""

from __future__ import annotations

from django.test import Client
from django.test.utils import override_script_prefix
from django.urls import reverse

from casts.api import reference
from core.api import catalog
from tests import described
from tests.matrix.rules import API, Key

NOBODY = "00000000-0000-0000-0000-000000000000"


def operations():
    return {
        operation["operationId"]: (path, method.upper(), operation)
        for path, methods in described.description()["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_has_its_place_and_no_other():
    assert set(operations()) == set(reference.OPERATIONS)


def test_casting_comes_first():
    assert next(iter(described.description()["paths"])) == "/api/v1/cast"


def test_every_operation_tells_the_scope_that_it_needs():
    needs = {
        (described.template_of(path_of(name)), method): need.scope if isinstance(need, Key) else ""
        for name, methods in API.items()
        for method, need in methods.items()
    }
    told = {(path, method): reference.OPERATIONS[name].scope for name, (path, method, _) in operations().items()}
    assert {place: needs[place] for place in told} == told


def path_of(name: str) -> str:
    """Return some path of a URL's name."""
    for arguments in ({}, {"cast_id": NOBODY}, {"cast_id": NOBODY, "name": "x"}, *({n: "1"} for n in IDS)):
        try:
            return reverse(name, kwargs=arguments)
        except Exception:
            continue
    raise AssertionError(name)


IDS = ("spell_key", "key_id", "endpoint_id", "callback_id", "topup_id")


def test_every_problem_is_one_there_is():
    for one in reference.OPERATIONS.values():
        assert set(one.problems) <= set(catalog.BY_CODE), one.name
        assert len(set(one.problems)) == len(one.problems), one.name


def test_the_page_leads_to_where_the_service_is_mounted(client: Client):
    for prefix in ("/", "/spells/", "/"):
        with override_script_prefix(prefix):
            page = client.get("/api/v1/docs").content.decode()
        assert f'href="{prefix}api/v1/schema"' in page
        assert f'href="{prefix}docs/' in page
