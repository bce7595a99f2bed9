"""Anything at all, sent by somebody with a key, is taken on or refused as a problem; it is never a failure of ours."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from casts.models import Cast
from tests.casts.client import PROBLEM_KEYS
from tests.casts.conftest import ledger

FUZZ = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
TEXT = st.text(max_size=12) | st.sampled_from(["greet", "\0", "\ud800", "a/b~c", "%00", " ", "é", "1e400", "-"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["spell_key", "input", "ttl_seconds", "callback_url", "metadata"])


def check(answer):
    assert answer.status_code < 500, answer.content
    if answer.status_code >= 400:
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json().keys() >= PROBLEM_KEYS
        for error in answer.json().get("errors", []):
            assert error["pointer"] == "" or error["pointer"].startswith("/")
            assert error["detail"]


@given(st.dictionaries(NAMES | TEXT, JSON, max_size=4), st.booleans())
@example({"input": {"name": "x" * 70_000}}, True)
@example({"ttl_seconds": 10**30}, True)
@FUZZ
def test_any_json_is_taken_on_or_refused(api, spell, body, castable):
    before = Cast.objects.count()
    answer = api.post("/cast", json.dumps(body | ({"spell_key": "greet"} if castable else {})))
    check(answer)
    assert Cast.objects.count() == before + (answer.status_code == 201)
    if answer.status_code == 201:
        cast = Cast.objects.get(pk=answer.json()["cast_id"])
        assert ledger(cast) == [("hold", 5)]
        assert api.get(f"/casts/{cast.pk}").json()["input"] == answer.json()["input"]


@pytest.fixture
def anything(make_spell):
    return make_spell("any", input_schema={})


@given(JSON)
@FUZZ
def test_any_input_is_kept_as_it_was_given(api, anything, document):
    answer = api.post("/cast", json.dumps({"spell_key": "any", "input": document}))
    check(answer)
    if answer.status_code == 201:
        assert answer.json()["input"] == document


@given(st.binary(max_size=60))
@FUZZ
def test_any_bytes_are_refused(api, spell, body):
    check(api.post("/cast", body))
    check(api.post("/keys", body))


PARAMETERS = st.sampled_from(
    [
        "status",
        "spell_key",
        "created_after",
        "created_before",
        "cursor",
        "page_size",
        "metadata.a",
        "metadata.",
        "format",
    ]
)


@given(
    st.lists(st.tuples(PARAMETERS | TEXT, TEXT | st.sampled_from(["queued", "5", "2026-11-23T10:00:00Z"])), max_size=3)
)
@FUZZ
def test_any_query_is_answered(api, cast, query):
    text = "&".join(f"{quote(n, errors='replace')}={quote(v, errors='replace')}" for n, v in query)
    check(api.get(f"/casts?{text}"))


@given(st.dictionaries(st.sampled_from(["name", "scopes", "spell_keys", "expires_at"]) | TEXT, JSON, max_size=4))
@FUZZ
def test_any_request_for_a_key_is_answered(api, body):
    check(api.post("/keys", json.dumps({"name": "fuzz"} | body)))


@pytest.mark.parametrize("rest", ["", "/events", "/artifacts/x"])
@given(st.text(min_size=1, max_size=40), TEXT)
@FUZZ
def test_any_path_and_token_are_answered(api, cast, rest, text, token):
    if rest == "/events":
        text = text if text != str(cast.pk) else "x"
    path = quote(text, safe="", errors="replace")
    check(api.get(f"/casts/{path}{rest}?token={quote(token, safe='', errors='replace')}"))
    check(api.get(f"/spells/{path}"))


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
@settings(FUZZ, max_examples=15)
def test_any_header_is_answered(api, cast, value):
    for name in ("Authorization", "Prefer", "If_None_Match", "Accept", "Content_Type", "X_Request_Id"):
        if name != "Accept":
            check(api.get(f"/casts/{cast.pk}", **{name: value}))
        else:
            assert api.get(f"/casts/{cast.pk}", Accept=value).status_code < 500
