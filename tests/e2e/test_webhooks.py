"""Webhooks early, twice, late, out of order, never; and forged ones."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections import Counter
from typing import Any

import pytest
import requests

from tests.e2e.platform import SECRET, Platform, until

BOTH_KINDS = ["echo", "echo-event"]


def cast_some(where: Platform, number: int) -> dict[str, Any]:
    """Cast each kind of spell so often, each time with an input of its own; return the inputs by cast."""
    inputs = [(spell, {"number": number, "kind": spell}) for number in range(number) for spell in BOTH_KINDS]
    return {where.cast(spell, input)["cast_id"]: input for spell, input in inputs}


def all_end_well(where: Platform, inputs: dict[str, Any]) -> None:
    """Every cast succeeds with its own output, its own run, one dispatch, and a history without gaps."""
    ended = [where.ended(cast_id) for cast_id in inputs]
    assert [(cast["status"], cast["output"]) for cast in ended] == [("succeeded", i) for i in inputs.values()]
    record = where.record()
    accepted = [sent for sent in record["dispatches"] if sent["status"] in (200, 204)]
    for cast in ended:
        cast_id = cast["cast_id"]
        [run] = [run for run in record["runs"] if run["cast_id"] == cast_id]
        assert cast["run_url"] == run["html_url"]
        [sent] = [sent for sent in accepted if sent["cast_id"] == cast_id]
        assert sent["runs"] == [run["id"]]
        numbers = [number for number, _ in where.history(cast_id)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert where.ledger(cast_id) == [("hold", 3), ("capture", 3)]


def completed_arrived(where: Platform, cast_id: str) -> int:
    """Return how often the webhook that a cast's run has completed was answered."""
    record = where.record()
    [run] = [run["id"] for run in record["runs"] if run["cast_id"] == cast_id]
    done = [d for d in record["deliveries"] if d["run_id"] == run and d["event"] == "workflow_run"]
    return sum(d["action"] == "completed" and d["status_code"] in (200, 202) for d in done)


@pytest.mark.parametrize(
    "faults",
    [
        {"before_dispatch_answer": True, "answer_delay_ms": 700},
        {"duplicate": 1.0},
        {"reorder": True, "delay_ms": [0, 700]},
        {"before_dispatch_answer": True, "duplicate": 1.0, "reorder": True, "delay_ms": [0, 400]},
        {"lose": 0.3, "drop": 0.3, "duplicate": 0.5, "reorder": True},
    ],
    ids=lambda faults: "+".join(faults),
)
def test_casts_end_right_however_webhooks_come(here: Platform, faults: dict[str, Any]):
    here.faults(seed=7, webhooks=faults)
    inputs = cast_some(here, 2)
    all_end_well(here, inputs)
    if not {"drop", "lose"} & faults.keys():
        # What comes after the end is taken in as well, and changes nothing.
        before = {cast_id: here.history(cast_id) for cast_id in inputs}
        times = 2 if "duplicate" in faults else 1
        until(lambda: all(completed_arrived(here, cast_id) == times for cast_id in inputs))
        assert {cast_id: here.history(cast_id) for cast_id in inputs} == before
    guids = Counter(d["guid"] for d in here.record()["deliveries"])
    if "duplicate" in faults:
        assert max(guids.values()) > 1
        assert here.rows("SELECT SUM(repeats) AS repeats FROM webhooks_delivery")[0]["repeats"] > 0


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


def deliver(where: Platform, body: bytes, signature: str | None, **headers: str) -> requests.Response:
    about = {"X-GitHub-Event": "workflow_run", "X-GitHub-Delivery": str(uuid.uuid4())}
    about |= {"Content-Type": "application/json"}
    about |= {"X-Hub-Signature-256": signature} if signature is not None else {}
    return where.call("POST", "/api/webhooks/github", key="", data=body, headers=about | headers)


def state(where: Platform, cast_id: str) -> Any:
    row = where.row(cast_id)
    facts = {name: row[name] for name in ("status", "status_reason", "progress", "last_seq", "observation", "run_key")}
    return facts, where.rows("SELECT COUNT(*) AS deliveries FROM webhooks_delivery WHERE body LIKE ?", "%forged%")


def test_forged_and_unsigned_webhooks_change_nothing(here: Platform):
    gate = here.gate()
    cast_id = here.cast("gate", {"gate": str(gate)})["cast_id"]
    here.at_gate(cast_id)
    [run] = here.runs(cast_id)
    told = here.on_github("GET", f"/actions/runs/{run['id']}")
    told |= {"status": "completed", "conclusion": "cancelled", "name": "forged", "updated_at": "2099-01-01T00:00:00Z"}
    payload = {"action": "completed", "workflow_run": told, "repository": told["repository"], "workflow": None}
    body = json.dumps(payload).encode()
    good = signed(body)
    before = state(here, cast_id)
    forgeries: list[tuple[str | None, dict[str, str]]] = [
        (None, {}),
        ("", {}),
        ("sha256=", {}),
        (good.removeprefix("sha256="), {}),
        (good.upper(), {}),
        (good[:-1], {}),
        (good + "0", {}),
        (signed(body, ""), {}),
        (signed(body, "another secret"), {}),
        (signed(body + b" "), {}),
        (None, {"X-Hub-Signature": "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()}),
        (None, {"Authorization": f"Bearer {here.key}"}),
        ("sha256=ünï".encode().decode("latin-1"), {}),
    ]
    for signature, headers in forgeries:
        answer = deliver(here, body, signature, **headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json"), signature
    assert state(here, cast_id) == before
    assert not here.get(cast_id)["final"]
    # The signature was all that kept them out.
    assert deliver(here, body, good).status_code == 202
    ended = here.ended(cast_id)
    assert (ended["status"], ended["status_reason"]) == ("cancelled", "cancelled_on_github")
    gate.touch()


def test_signed_nonsense_is_refused_or_kept_without_harm(here: Platform):
    cast_id = here.cast("echo", {})["cast_id"]
    here.ended(cast_id)
    events = here.history(cast_id)
    repository = {"full_name": "demo/spells"}
    for body, expected in [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff", 400),
        (b'{"action": "completed\\u0000"}', 400),
        (b'{"action": "completed"}', 400),
        (b'{"workflow_run": {}}', 400),
        (b'{"workflow_run": {"id": "no number"}}', 400),
        (b"[" * 100_000, 400),
        (json.dumps({"workflow_run": {"id": 10**30}, "repository": repository}).encode(), 400),
        (json.dumps({"workflow_run": {"id": 1, "status": 7}, "repository": repository}).encode(), 202),
        (json.dumps({"workflow_run": {"id": 1, "run_attempt": "x"}, "repository": repository}).encode(), 202),
    ]:
        answer = deliver(here, body, signed(body))
        assert answer.status_code == expected, (body[:80], answer.status_code, answer.text)
    assert here.history(cast_id) == events
