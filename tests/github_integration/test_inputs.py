"""What a workflow is handed of a cast, by the spell's input mapping."""

from __future__ import annotations

from typing import Any

import pytest

from casts.models import Cast
from github_integration.inputs import inputs_of, payload_of, text_of
from tests.spells import unstored_spell

GIVEN = {"name": "Ridcully", "dry_run": True, "times": 2.0, "tags": ["a", {"b": 1}], "note": None}


def cast_of(mapping: str, given: Any) -> Cast:
    return Cast(spell=unstored_spell(key="deploy", input_mapping=mapping), input=given)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("so", "so"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (2**70, "1180591620717411303424"),
        (1.0, "1"),
        (-0.5, "-0.5"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        ([1, "ü"], '[1,"ü"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_values_are_written_as_github_wants_them(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_native_inputs_are_the_inputs_own_properties_without_those_that_are_null() -> None:
    sent = {"name": "Ridcully", "dry_run": "true", "times": "2", "tags": '["a",{"b":1}]'}
    assert inputs_of(cast_of("native", GIVEN)) == sent
    cast = cast_of("native+cast_id", GIVEN)
    assert inputs_of(cast) == sent | {"cast_id": str(cast.pk)}


def test_an_events_payload_is_the_input_itself() -> None:
    assert payload_of(cast_of("native", GIVEN)) == GIVEN
    cast = cast_of("native+cast_id", GIVEN)
    assert payload_of(cast) == GIVEN | {"cast_id": str(cast.pk)}
    assert payload_of(cast_of("native", None)) == {}


def test_the_envelope_is_as_it_was() -> None:
    cast = cast_of("envelope", {"b": 1, "a": "ü"})
    envelope = {"cast_id": str(cast.pk), "spell_key": "deploy", "input_data": '{"b":1,"a":"ü"}'}
    assert inputs_of(cast) == payload_of(cast) == envelope


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DECLARED: dict[str, Any] = {"traceparent": {"type": "string"}}


@pytest.mark.parametrize("mapping", ["envelope", "native", "native+cast_id"])
@pytest.mark.parametrize(
    ("declared", "kept", "given", "sent"),
    [
        (DECLARED, TRACE, {}, TRACE),
        (DECLARED, None, {}, None),
        ({}, TRACE, {}, None),  # GitHub would refuse it
        (None, TRACE, {}, None),  # the file was never read
        (DECLARED, TRACE, {"traceparent": "own"}, "own"),
    ],
)
def test_a_workflow_that_declares_it_is_handed_the_casts_trace(mapping, declared, kept, given, sent) -> None:
    spell = unstored_spell(key="deploy", input_mapping=mapping, declared_inputs=declared)
    handed = inputs_of(Cast(spell=spell, input=given, traceparent=kept))
    if mapping == "envelope" and given:
        sent = TRACE  # what callers give is within input_data
    assert handed.get("traceparent") == sent


def test_an_event_declares_nothing_so_the_envelope_has_it_and_a_native_one_is_the_input() -> None:
    for mapping, kept, sent in (("envelope", TRACE, TRACE), ("envelope", None, None), ("native", TRACE, None)):
        cast = Cast(spell=unstored_spell(key="deploy", input_mapping=mapping), input={}, traceparent=kept)
        assert payload_of(cast).get("traceparent") == sent
