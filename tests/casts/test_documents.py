"""A person's JSON goes through us as it came, on SQLite and on Postgres alike."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.db import connection, models
from django.utils.http import urlencode

from casts.live import frames
from casts.models import Cast, CastEvent, IdempotencyRecord, Spell
from casts.runtime import Observation, RemoteArtifact
from core.db.documents import DocumentField, TextAt
from github_integration.inputs import inputs_of
from tests.casts.conftest import step
from tests.casts.receivers import receiver, work_off
from tests.one_of_each import every_model

# Names out of order, of all lengths; numbers as large and as small as they come; text beyond ASCII.
GIVEN = (
    '{"zeta":1,"b":2,"aa":3,"a":1e22,"Ä":[1.5,-0.0,5e-324,1.7976931348623157e308,123456789012345678901234567890],'
    + ('"n":{"10":true,"9":null,"":"Zoë ✅ \\"quoted\\" \\\\ 进入"}}')
)
KEPT = GIVEN.replace("1e22", "1e+22").replace("1.7976931348623157e308", "1.7976931348623157e+308")


def test_the_two_ways_to_write_a_number_are_one_number():
    assert json.loads(GIVEN) == json.loads(KEPT)


def body_of(spell_key="anything", **more):
    """A request's body with GIVEN for input, written by hand: json.dumps would have its own ways."""
    return json.dumps({"spell_key": spell_key, "input": "@", **more}).replace('"@"', GIVEN)


def part(answer, name):
    """The text of one of the answer's members, as the client got it."""
    text = answer if isinstance(answer, str) else answer.content.decode()
    begin = text.index(f'"{name}":') + len(name) + 3
    return text[begin : begin + json.JSONDecoder().raw_decode(text[begin:])[1]]


@pytest.fixture
def anything(make_spell):
    return make_spell("anything", input_schema={})


def test_an_input_reaches_the_workflow_and_everybody_else_as_it_was_accepted(
    api, api_key, anything, runtime, settings, account
):
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("result.json", GIVEN)
    runtime.answers["observe"] = lambda cast: Observation(
        cast.run_scope, cast.run_key, status="completed", conclusion="success"
    )
    runtime.answers["artifacts"] = [RemoteArtifact(1, "spell-result", 1)]
    runtime.answers["download"] = packed.getvalue()
    with receiver() as hook:
        metadata = {"zeta": "1", "b": "2", "aa": "Zoë ✅", "a": ""}
        wanted = body_of(metadata=metadata, callback_url=hook.url)
        first = api.post("/cast", wanted, Idempotency_Key="k")
        assert first.status_code == 201, first.content
        again = api.post("/cast", wanted, Idempotency_Key="k")
        assert again["Idempotent-Replayed"] == "true"
        assert again.content == first.content
        cast = Cast.objects.get()
        for _ in range(3):
            step(cast)
        assert cast.status == "succeeded", cast.message
        assert work_off() == 1
    path = f"/casts/{cast.pk}"
    shown, listed, retried = api.get(path), api.get("/casts"), api.post(f"{path}/retry")
    assert inputs_of(cast)["input_data"] == KEPT
    assert inputs_of(Cast.objects.get(retry_of=cast))["input_data"] == KEPT
    assert [part(one, "input") for one in (first, shown, listed, retried)] == [KEPT] * 4
    assert [part(one, "output") for one in (shown, listed)] == [KEPT] * 2
    [told] = hook.got
    assert part(told.body.decode(), "output") == KEPT
    for one in (first, shown, listed, retried, told.body.decode()):
        assert part(one, "metadata") == '{"zeta":"1","b":"2","aa":"Zoë ✅","a":""}'
    event = CastEvent.objects.get(cast=cast, kind="ended")
    assert part(frames.frame_of(event, None).data.decode(), "output") == KEPT


def test_of_a_name_that_is_written_twice_the_last_counts(api, anything):
    answer = api.post("/cast", '{"spell_key": "anything", "input": {"b": 1, "a": 2, "b": 3}}')
    assert part(answer, "input") == '{"b":3,"a":2}'


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN"])
def test_a_number_that_can_t_be_kept_is_refused_and_not_changed(api, anything, number):
    answer = api.post("/cast", f'{{"spell_key": "anything", "input": {{"n": {number}}}}}')
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_JSON")


def test_a_document_that_was_accepted_as_short_stays_short(api, anything, settings):
    numbers = ",".join(["1e300"] * 400)
    answer = api.post("/cast", f'{{"spell_key": "anything", "input": [{numbers}]}}')
    assert answer.status_code == 201
    assert len(inputs_of(Cast.objects.get())["input_data"]) < 3000


def test_a_spell_s_schemas_keep_their_order(api, make_spell):
    schema = {"type": "object", "properties": {"zeta": {"default": 1e22}, "b": {"default": 2}, "aa": {"default": 3}}}
    make_spell("ordered", input_schema=schema, output_schema={"type": ["object", "null"], "$comment": "x"})
    shown = api.get("/spells/ordered")
    written = json.dumps(schema, separators=(",", ":"))
    assert part(shown, "input_schema") == written
    assert part(api.get("/spells"), "input_schema") == written
    answer = api.post("/cast", {"spell_key": "ordered", "input": {"own": 0}})
    assert part(answer, "input") == '{"own":0,"zeta":1e+22,"b":2,"aa":3}'


@pytest.mark.parametrize("key", ["a", "17", "", 'it"s', "it's", "a.b", "$", "Ä ✅", "%s", "a]", "[0]", "#"])
def test_casts_are_found_by_what_their_metadata_has_under_any_key(api, anything, key):
    [one, _] = [
        api.post("/cast", {"spell_key": "anything", "metadata": metadata}).json()["cast_id"]
        for metadata in ({"zz": "no", key: "10 % ✅"}, {key + "x": "10 % ✅", "zz": "10 % ✅"})
    ]
    found = api.get("/casts?" + urlencode({f"metadata.{key}": "10 % ✅"})).json()["results"]
    assert [cast["cast_id"] for cast in found] == [one]


def test_text_at_a_name_is_null_without_it(cast):
    cast.metadata = {"a": "x", "n": 5}
    cast.save()
    told = Cast.objects.annotate(
        **{f"at_{name}": TextAt("metadata", name) for name in ("a", "b")},
        number=models.functions.Cast(TextAt("metadata", "n"), models.IntegerField()),
    ).get()
    assert tuple(getattr(told, name) for name in ("at_a", "at_b", "number")) == ("x", None, 5)


def documents():
    return [f for model in every_model() for f in model._meta.concrete_fields if isinstance(f, DocumentField)]


@pytest.mark.parametrize("value", [None, "", "null", "x", 0, False, [], {}, {"a": None}, 1e22, 2**200, -0.0])
def test_any_document_comes_back_as_it_is(account, value):
    record = IdempotencyRecord(account=account, route="r", key="k", body=value, created_at="2026-01-01T00:00Z")
    record.save()
    found = IdempotencyRecord.objects.get().body
    assert (type(found), found, str(found)) == (type(value), value, str(value))
    assert IdempotencyRecord.objects.filter(body=value).count() == 1


def test_none_is_null_where_there_may_be_null(cast):
    Cast.objects.update(output=None, input=None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT output, input FROM casts_cast")
        assert cursor.fetchall() == [(None, "null")]
    assert Cast.objects.filter(output=None).exists()


def test_what_no_database_should_be_asked_is_refused_on_all(cast):
    with pytest.raises(FieldError):
        Cast.objects.filter(metadata__order="A-17").exists()
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            Cast.objects.update(output=bad)
    with pytest.raises(ValidationError):
        Spell._meta.get_field("input_schema").clean({"a": object()}, None)


def test_dumped_data_can_be_loaded(cast):
    text = serializers.serialize("json", [cast])
    [loaded] = serializers.deserialize("json", text)
    assert isinstance(loaded.object, Cast)
    loaded.object.input = {"zeta": 1, "a": 2}
    loaded.save()
    assert Cast.objects.get().input == {"zeta": 1, "a": 2}


def test_every_person_s_document_is_kept_as_one():
    """A new column of JSON must be chosen with care: what Postgres' own type may reorder is only ever ours."""
    ours = {"ApiKey.scopes", "ApiKey.spell_keys", "CallbackEndpoint.types", "CallbackEndpoint.spell_keys"}
    ours |= {"AccountEvent.data", "AuditEntry.after", "AuditEntry.before", "DeliverySweep.progress", "RecentRuns.runs"}
    ours |= {"RetentionMark.waiting"}
    found = {
        str(f).split(".", 1)[1]
        for m in every_model()
        for f in m._meta.concrete_fields
        if isinstance(f, models.JSONField)
    }
    assert found == ours
    assert len(documents()) == 25
