"""Workflows that are handed their own inputs: what arrives, what is refused, and what becomes of lost answers."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.e2e.platform import Platform
from tests.e2e.test_dispatch import DISPATCHES, struck

pytestmark = pytest.mark.once  # what is sent to GitHub

GIVEN: dict[str, Any] = {
    "who": 'Zoë ✨ "quoted" $(id) ${{ github.token }}\nline 2',
    "loud": True,
    "times": 2.0,
    "where": "here",
    "more": {"deep": ["ü", None, 1e22]},
}
AS_TEXT = GIVEN | {"loud": "true", "times": "2", "more": '{"deep":["ü",null,1e+22]}'}


def plain_runs(where: Platform) -> list[int]:
    return [run["id"] for run in where.record()["runs"] if run["path"].endswith("/plain.yml")]


def test_each_value_arrives_as_the_workflow_declares_it(here: Platform) -> None:
    cast_id = here.cast("native", GIVEN)["cast_id"]
    ended = here.ended(cast_id)
    assert ended["status"] == "succeeded", ended
    told = ended["output"]
    assert (told["who"], told["loud"], told["twice"], told["more"]) == (GIVEN["who"], "loud", "true", "ü")
    assert told["event"] == AS_TEXT | {"cast_id": cast_id}
    assert told["inputs"]["loud"] is True
    assert told["inputs"]["who"] == GIVEN["who"]
    assert ended["input"] == GIVEN
    # What is not given has the workflow's own default.
    told = here.ended(here.cast("native", {"who": "", "loud": None})["cast_id"])["output"]
    assert (told["inputs"]["loud"], told["inputs"]["where"], told["twice"]) == (False, "there", "false")


def test_an_event_carries_the_input_as_it_is(here: Platform) -> None:
    cast_id = here.cast("native-event", GIVEN)["cast_id"]
    ended = here.ended(cast_id)
    assert ended["output"]["event"] == GIVEN | {"cast_id": cast_id}
    assert ended["output"]["more"] == "ü"


def test_a_workflow_that_knows_nothing_of_casts_is_cast(deaf: Platform) -> None:
    ended = deaf.ended(deaf.cast("plain", {"dry-run": False, "stage": "production"})["cast_id"])
    event = {"dry-run": "false", "stage": "production", "note": ""}
    assert ended["output"] == {"stage": "production", "dry": "false", "note": "", "event": event}


def test_a_lost_answer_is_made_up_for_by_the_tag_alone(deaf: Platform) -> None:
    for spell in ("native", "native-event"):
        deaf.faults(reset=True)
        deaf.ended(deaf.cast(spell, {"who": "first"})["cast_id"])  # or the answer that is lost may be about a token
        deaf.faults(api={"reset_after": 1.0, "times": 1, **DISPATCHES})
        cast_id = deaf.cast(spell, {"who": spell, "more": {"deep": [1]}})["cast_id"]
        ended = deaf.ended(cast_id)
        assert struck(deaf)
        assert ended["status"] == "succeeded", ended
        assert ended["output"]["event"]["who"] == spell
        [run] = deaf.runs(cast_id)
        assert [sent["runs"] for sent in deaf.dispatches(cast_id)] == [[run["id"]]]


def test_once_the_file_was_read_what_github_would_refuse_is_refused_first(deaf: Platform) -> None:
    before = plain_runs(deaf)
    given = {"dry-run": "yes", "foo": 1}
    ended = deaf.ended(deaf.cast("plain-unread", given)["cast_id"])
    assert (ended["status_reason"], 'provided: ["foo"]' in ended["message"]) == ("dispatch_refused", True)
    with contextlib.suppress(AssertionError):  # there are other problems: no webhook reaches this one
        deaf.manage("doctor", "--spell", "plain-unread")
    answer = deaf.call("POST", "/api/v1/cast", json={"spell_key": "plain-unread", "input": given})
    assert answer.status_code == 422, answer.text
    pointers = {one["pointer"] for one in answer.json()["errors"]}
    assert pointers == {"/input/dry-run", "/input/foo", "/input/stage"}
    assert plain_runs(deaf) == before


@pytest.mark.parametrize(("fault", "started"), [("reset_after", 1), ("error_5xx", 0)])
def test_without_a_tag_a_lost_answer_is_lost_and_costs_nothing(deaf: Platform, fault: str, started: int) -> None:
    before = plain_runs(deaf)
    deaf.faults(reset=True, api={fault: 1.0, "times": 1, **DISPATCHES})
    cast_id = deaf.cast("plain", {"dry-run": True, "stage": "staging"})["cast_id"]
    ended = deaf.ended(cast_id)
    assert (ended["status"], ended["status_reason"]) == ("failed", "dispatch_lost")
    assert deaf.ledger(cast_id) == [("hold", 3), ("release", 3)]
    assert deaf.row(cast_id)["dispatch_attempts"] == 1
    assert len(plain_runs(deaf)) == len(before) + started
