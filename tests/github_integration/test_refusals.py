"""What GitHub would refuse of an input is refused first, with its place; and nothing else is."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import yaml
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from casts.models import Cast
from core.errors import InputTooLarge
from github_integration.inputs import inputs_of, payload_of
from github_integration.refusals import refusals
from localgithub import dispatch, workflow
from localgithub.answers import ApiError
from tests.spells import retarget, stored_spell, unstored_spell

DECLARED: dict[str, Any] = {
    "what": {"type": "string", "required": True},
    "where": {"type": "choice", "required": True, "options": ["here", "there"], "default": "here"},
    "loud": {"type": "boolean", "required": False},
    "times": {"type": "number", "required": False},
    "stage": {"type": "environment", "required": False, "options": ["staging", "production"]},
}
OK: dict[str, Any] = {"what": ""}
REPOSITORY: dict[str, Any] = {"key": "k", "repository": "acme/spells"}


def refused(given: Any, *, mapping: str = "native", declared: Any = None, **fields: Any) -> dict[str, str]:
    spell = unstored_spell(**REPOSITORY, input_mapping=mapping, declared_inputs=declared, **fields)
    return {problem["pointer"]: problem["detail"] for problem in refusals(spell, given)}


@pytest.mark.parametrize(
    ("given", "pointer", "told"),
    [
        (OK | {"foo": 1}, "/input/foo", "declares no such input; it declares loud, stage, times, what, where."),
        (OK | {"a/b~c": 1}, "/input/a~1b~0c", "declares no such input"),
        ({}, "/input/what", "requires this input"),
        ({"what": None}, "/input/what", "requires this input"),
        (None, "/input/what", "requires this input"),
        (OK | {"where": "nowhere"}, "/input/where", "one of 'here', 'there'"),
        (OK | {"where": ""}, "/input/where", "one of 'here', 'there'"),
        (OK | {"where": ["here"]}, "/input/where", "one of"),
        (OK | {"loud": "True"}, "/input/loud", "give true or false"),
        (OK | {"loud": 1}, "/input/loud", "give true or false"),
        (OK | {"loud": ""}, "/input/loud", "give true or false"),
        (OK | {"times": "many"}, "/input/times", "is a number"),
        (OK | {"times": True}, "/input/times", "is a number"),
        (OK | {"times": {}}, "/input/times", "is a number"),
        (OK | {"stage": None, "where": "there", "loud": "TRUE"}, "/input/loud", "give true or false"),
        (OK | {"stage": "moon"}, "/input/stage", "one of 'staging', 'production'"),
        ("text", "/input", "Give an object"),
        ([], "/input", "Give an object"),
    ],
)
def test_what_the_file_does_not_declare_so_is_refused_with_its_place(given: Any, pointer: str, told: str) -> None:
    assert {where: told in detail for where, detail in refused(given, declared=DECLARED).items()} == {pointer: True}


def test_every_mistake_is_told_and_a_hidden_workflow_is_not_described() -> None:
    found = refused({"foo": 1, "loud": 7}, declared=DECLARED, show_run=False)
    assert found["/input/foo"] == "The workflow declares no such input."
    assert found.keys() == {"/input/foo", "/input/loud", "/input/what"}


@pytest.mark.parametrize(
    "given",
    [
        OK,
        OK | {"where": "there", "loud": "false", "times": "1.5e3", "stage": "staging"},
        OK | {"loud": True, "times": 2**70, "where": None},
        OK | {"times": -0.0, "what": {"deep": [None, {"ü": 1e300}]}},
        OK | {"times": 100.0, "what": 5, "stage": ""},
        OK | {"times": ""},
    ],
)
def test_what_fits_is_taken(given: Any) -> None:
    assert refused(given, declared=DECLARED) == {}


def test_cast_id_is_filled_in_and_not_given() -> None:
    declared = {"cast_id": {"type": "string", "required": True}, "a": {"type": "string"}}
    assert refused({"a": "b"}, mapping="native+cast_id", declared=declared) == {}
    assert refused({"cast_id": "mine"}, mapping="native+cast_id", declared=declared).keys() == {"/input/cast_id"}
    assert refused({"cast_id": None}, mapping="native+cast_id").keys() == {"/input/cast_id"}
    assert refused({"cast_id": "mine"}, declared=declared) == {}


def test_without_a_file_read_only_what_no_workflow_takes_is_refused(settings: Any) -> None:
    assert refused({"a": 1, "_b-2": None}) == refused(None) == {}
    assert refused({"1a": 1, "a b": 1, "": 1, "ü": 1, "x.y": None}).keys() == {
        "/input/1a",
        "/input/a b",
        "/input/",
        "/input/ü",
    }
    many = {f"n{n}": "" for n in range(25)}
    assert refused(many) == refused(many | {"null": None}) == {}
    told = "GitHub takes at most 25 inputs of a workflow; these are 26, cast_id among them."
    assert refused(many, mapping="native+cast_id") == {"/input": told}
    settings.GITHUB_INPUTS_MAX = 10
    assert "at most 10 inputs" in refused(many)["/input"]


def test_an_event_has_ten_names_with_any_letters() -> None:
    event = {"runtime": "repository_dispatch", "event_type": "e", "mapping": "native+cast_id"}
    many: dict[str, Any] = {f"{n} ü": {"deep": None} for n in range(9)}
    assert refused(many, **event) == refused(None, **event) == {}
    assert "10 names in the data of an event; these are 11" in refused(many | {"null": None}, **event)["/input"]


@pytest.mark.parametrize("mapping", ["envelope", "native", "native+cast_id"])
@pytest.mark.parametrize("runtime", ["workflow_dispatch", "repository_dispatch"])
@pytest.mark.parametrize("value", ["x", '"', "\\", "ü", "\n", "\x7f", [None], "🪄"], ids=repr)
def test_exactly_as_much_as_github_takes_is_taken(mapping: str, runtime: str, value: Any) -> None:
    spell = unstored_spell(**REPOSITORY, input_mapping=mapping, runtime=runtime, event_type="e")

    def taken(count: int) -> bool:
        try:
            return not refusals(spell, {"a": value * count})
        except InputTooLarge:
            return False

    low, high = 0, 70_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if taken(middle) else (low, middle)

    def chars(count: int) -> int:
        cast = Cast(spell=spell, input={"a": value * count}, pk=uuid.uuid4())
        sent = payload_of(cast) if runtime == "repository_dispatch" else inputs_of(cast)
        return len(json.dumps(sent, ensure_ascii=False, separators=(",", ":")))

    assert chars(low) <= 65_535
    if mapping == "envelope":  # leaves room for the longest key
        assert chars(low) > 65_200
    else:
        assert chars(high) > 65_535


# --- the same as GitHub ---------------------------------------------------------------------------------------------

TEXTS = st.one_of(st.sampled_from(["", "true", "false", "1", "a", "b c", "null", "1e400", "0x1f"]), st.text(max_size=5))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["x", "y"]), st.none(), max_size=2),
)
SPECS = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "boolean", "number", "choice", "environment"]), "required": st.booleans()},
    optional={"default": st.sampled_from(["a", "1", "true"]), "options": st.just(["a", "1", "b c", ""])},
).map(lambda spec: spec | {"options": ["a", "1"]} if spec["type"] in ("choice", "environment") else spec)
NAMES = st.sampled_from(["a", "b", "c", "cast_id", "b-2"])


@settings(max_examples=300, deadline=None)
@given(
    declared=st.dictionaries(NAMES, SPECS, max_size=4),
    given=st.dictionaries(NAMES, VALUES, max_size=4),
    mapping=st.sampled_from(["native", "native+cast_id"]),
)
def test_what_is_taken_github_takes_and_what_it_refuses_was_refused(declared: Any, given: Any, mapping: str) -> None:
    if mapping == "native+cast_id":
        declared = declared | {"cast_id": {"type": "string"}}
    spell = unstored_spell(**REPOSITORY, input_mapping=mapping, declared_inputs=declared)
    ours = refusals(spell, given)
    text = yaml.safe_dump(
        {
            "on": {"workflow_dispatch": {"inputs": declared}},
            "jobs": {"a": {"runs-on": "ubuntu-latest", "steps": [{"run": "true"}]}},
        }
    )
    file = workflow.load("acme/spells", ".github/workflows/a.yml", text)
    assert not file.error
    sent = inputs_of(Cast(spell=spell, input=given))
    assert all(isinstance(value, str) for value in sent.values())
    try:
        arrived = dispatch.checked_inputs(file, json.loads(json.dumps(sent)), ["a", "1"])
    except ApiError:
        assert ours
        assert all(problem["pointer"].startswith("/input/") for problem in ours)
    else:
        assert all("filled in with the cast's own id" in problem["detail"] for problem in ours)
        assert {name: arrived[name] for name in sent} == sent


# --- spells that could never work -----------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"runtime": "repository_dispatch", "event_type": "e", "input_mapping": "native"}, "Use native+cast_id, with"),
        ({"input_mapping": "native+cast_id", "declared_inputs": {}}, "declares no input cast_id"),
        ({"runtime": "repository_dispatch", "event_type": "e", "input_mapping": "native+cast_id"}, ""),
        (
            {"runtime": "repository_dispatch", "event_type": "e", "input_mapping": "native", "matching": "exclusive"}
            | {"workflow_file": "e.yml"},
            "",
        ),
        ({"input_mapping": "native+cast_id", "declared_inputs": {"cast_id": {}}}, ""),
        ({"input_mapping": "native+cast_id"}, ""),
    ],
)
def test_a_mapping_that_could_never_work_is_refused(fields: dict[str, Any], told: str) -> None:
    target = stored_spell(**REPOSITORY, name="K", **fields).workflowtarget
    if not told:
        target.full_clean()
        return
    with pytest.raises(ValidationError) as refusal:
        target.full_clean()
    assert told in refusal.value.message_dict["input_mapping"][0]


@pytest.mark.django_db
def test_what_a_file_declared_is_forgotten_with_the_file() -> None:
    spell = stored_spell(**REPOSITORY, name="K", workflow_file="a.yml", declared_inputs={"a": {}})
    target = spell.workflowtarget
    target.input_mapping = "native"
    target.save()
    assert target.declared_inputs == {"a": {}}
    target.workflow_file = "b.yml"
    target.save()
    target.refresh_from_db()
    assert target.declared_inputs is None
    retarget(spell, declared_inputs={"a": {}})
    target.refresh_from_db()
    target.workflow_file, target.declared_inputs = "c.yml", {"c": {}}
    target.save()
    assert target.declared_inputs == {"c": {}}
