"""The API's description is true: of casts in every state, and of what any client is told.

All other tests' answers are held against it too (tests/conftest.py); here are those that might be missing there.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from casts.lifecycle import ending
from casts.models import Artifact, Cast, CastStatus
from core.rationing.visits import HEADERS
from tests import described
from tests.casts.client import asked, run
from tests.casts.conftest import claim

OUTPUTS = [None, 0, 1.5, "text", True, [], [None], {}, {"a": {"b": None}}]


def ended(cast, **how):
    row = claim(cast)
    usual: dict[str, Any] = {"status": CastStatus.SUCCEEDED, "reason": "succeeded", "message": "Done.", "charge": True}
    ending.end(row, **usual | how)
    return Cast.objects.get(pk=cast.pk)


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_any_output_is_as_described(api, cast, output):
    ended(cast, left=ending.Left(output=output))
    assert api.get(f"/casts/{cast.pk}").json()["output"] == output


@pytest.mark.parametrize("status", [CastStatus.FAILED, CastStatus.CANCELLED])
@pytest.mark.parametrize("error", [None, {"reason": "r", "message": "m", "errors": [{"pointer": "", "detail": "d"}]}])
def test_every_end_is_as_described(api, cast, status, error):
    remark = {"level": "notice", "title": None, "message": "m", "file": None, "line": None, "job": "build"}
    left = ending.Left(summary="# Hi", annotations=[remark])
    ended(cast, status=status, reason="run_failed", error=error, charge=False, left=left)
    shown = api.get(f"/casts/{cast.pk}").json()
    assert (shown["status"], shown["error"], shown["final"]) == (status, error, True)
    assert (shown["summary"], shown["annotations"]) == ("# Hi", [remark])


@pytest.mark.parametrize("state", Artifact.State.values)
def test_artifacts_in_every_state_are_as_described(api, cast, state):
    Artifact.objects.create(cast=cast, name="report é 100 %", remote_id=5, state=state)
    Cast.objects.filter(pk=cast.pk).update(run_finished_at=cast.created_at)
    [shown] = api.get(f"/casts/{cast.pk}").json()["artifacts"]
    assert shown["state"] == state


@pytest.mark.parametrize("url", ["https://example.com/ü?x=é", "https://münchen.example/", "https://example.com/a|b"])
def test_a_callback_address_that_is_taken_is_as_described(api, spell, url):
    answer = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}, "callback_url": url})
    assert answer.status_code in (201, 422)
    if answer.status_code == 201:
        assert answer.json()["callback_url"] == url


@pytest.mark.django_db(transaction=True)  # streams read in threads of their own
@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_any_event_is_as_described(cast, secret, output):
    ended(cast, left=ending.Left(output=output))

    async def scene():
        path = f"/api/v1/casts/{cast.pk}/events?after=0"
        async with asked(path, Authorization=f"Bearer {secret}") as stream:
            return await stream.events()

    events = run(scene())
    assert events[-1][1]["output"] == output


def test_a_field_that_is_not_described_is_noticed(api, cast):
    answer = api.get(f"/casts/{cast.pk}")
    path = f"/api/v1/casts/{cast.pk}"
    wrongs: tuple[dict[str, object], ...] = (
        {"new": 1},
        {"progress": 101},
        {"status": "done"},
        {"created_at": "today"},
        {"steps": [{}]},
    )
    for wrong in wrongs:
        with pytest.raises(AssertionError, match="is not as described"):
            described.check("GET", path, 200, answer["Content-Type"], json.dumps(answer.json() | wrong).encode())
    with pytest.raises(AssertionError, match="may not answer 202"):
        described.check("GET", path, 202, answer["Content-Type"], answer.content)
    with pytest.raises(AssertionError, match="comes as text/html"):
        described.check("GET", path, 404, "text/html", b"")


def test_every_operation_tells_of_its_allowances():
    whole = described.description()
    assert set(HEADERS) | {"Retry-After"} == set(whole["components"]["headers"])
    for path in whole["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            told = {status: set(answer.get("headers", ())) for status, answer in answers.items()}
            assert told["429"] == {*HEADERS, "Retry-After"}
            assert all(told[status] >= set(HEADERS) for status in told if status < "400" or status == "default")
