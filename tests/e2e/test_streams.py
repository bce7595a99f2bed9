"""Event streams: every event once and in order, across restarts; and who may read them."""

from __future__ import annotations

import json
import time
import uuid

import requests

from tests.e2e.platform import Follower, Platform, until


def whole(ids: list[int]) -> bool:
    return ids == list(range(1, len(ids) + 1))


def events(where: Platform, cast_id: str, *, key: str | None = None, **query: str) -> requests.Response:
    """Ask for a stream and let go of it at once."""
    path = f"/api/v1/casts/{cast_id}/events"
    with where.call("GET", path, key=key, params=query, stream=True) as answer:
        return answer


def test_a_follower_from_the_start_gets_every_event_once_and_in_order(here: Platform):
    gate = here.gate()
    cast = here.cast("gate", {"gate": str(gate)})
    early = Follower(here, cast["cast_id"], after=0)
    until(lambda: any(data["step"] == "Wait at the gate" for _, data in early.events))
    late = Follower(here, cast["cast_id"])
    until(lambda: late.events)
    gate.touch()
    early.closed(seconds=30)
    late.closed(seconds=30)
    assert whole(early.ids)
    assert [data["final"] for _, data in early.events] == [False] * (len(early.ids) - 1) + [True]
    progress = [data["progress"] for _, data in early.events]
    assert progress == sorted(progress)
    assert progress[0] == 0
    assert progress[-1] == 100
    # Who asks without a position gets the state as it is, then what follows.
    assert late.ids == early.ids[-len(late.ids) :]
    assert late.events[0][1]["step"] == "Wait at the gate"
    assert late.events[-1] == early.events[-1]
    final = early.events[-1][1]
    ended = here.ended(cast["cast_id"])
    same = ("status", "status_reason", "message", "progress", "started_at", "finished_at", "duration_ms", "output")
    assert {name: final[name] for name in same} == {name: ended[name] for name in same}
    assert [number for number, _ in here.history(cast["cast_id"])] == early.ids


def test_a_client_that_reads_lines_of_text_gets_every_character(here: Platform):
    word = "进入 ✅ Zoë 🧙 one\u2028two\x85three\u2029four\x0bfive\x1csix"
    cast = here.cast("echo", {"word": word})
    with requests.get(cast["events_url"], stream=True, timeout=60) as answer:
        lines = [line for line in answer.iter_lines(decode_unicode=True) if line]
    messages = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert messages[-1]["output"] == {"word": word}
    assert {line.partition(": ")[0] for line in lines} <= {"retry", "id", "data", ""}


def test_an_idle_stream_carries_heartbeats(here: Platform):
    gate = here.gate()
    cast_id = here.cast("gate", {"gate": str(gate)})["cast_id"]
    follower = Follower(here, cast_id)
    here.at_gate(cast_id)
    until(lambda: follower.comments)
    gate.touch()
    follower.closed(seconds=30)
    assert {*follower.comments} == {"heartbeat"}


def test_after_the_end_there_is_nothing_more_to_come_for(here: Platform):
    cast_id = here.cast("echo", {})["cast_id"]
    here.ended(cast_id)
    last = here.row(cast_id)["last_seq"]
    path = f"/api/v1/casts/{cast_id}/events"
    for headers, query in (({"Last-Event-ID": str(last)}, ""), ({}, f"?after={last}")):
        answer = here.call("GET", path + query, headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
    # A re-run on GitHub adds to the history; the stream ended with the end.
    [run] = here.runs(cast_id)
    here.on_github("POST", f"/actions/runs/{run['id']}/rerun")
    until(lambda: here.row(cast_id)["last_seq"] > last)
    assert here.call("GET", path, headers={"Last-Event-ID": str(last)}).status_code == 204
    assert here.history(cast_id)[-1] == (last, "succeeded")


def test_a_stream_survives_a_restart_of_web(here: Platform):
    gates = [here.gate(), here.gate()]
    casts = [here.cast("gate", {"gate": str(gate)})["cast_id"] for gate in gates]
    before = [Follower(here, cast_id, after=0) for cast_id in casts]
    for follower in before:
        until(follower.at_the_gate)
    begun = time.monotonic()
    exit_code = here.stop("web")
    for follower in before:
        follower.closed(seconds=30)
        assert follower.ended_at - begun < 2
        assert not follower.events[-1][1]["final"]
    assert exit_code == 0
    # One cast goes on while nobody listens, neither clients nor for webhooks; the other one waits.
    gates[0].touch()
    until(lambda: here.row(casts[0])["status"] == "succeeded")
    here.start("web")
    here.up()
    after = [Follower(here, f.cast_id, after=f.ids[-1]) for f in before]
    gates[1].touch()
    for first, second in zip(before, after, strict=True):
        second.closed(seconds=30)
        assert whole(first.ids + second.ids)
        assert second.events[-1][1]["status"] == "succeeded"


def test_another_account_sees_nothing(here: Platform):
    theirs = here.manage("createapikey", f"others-{uuid.uuid4().hex[:8]}").strip()
    cast_id = here.cast("echo", {})["cast_id"]
    here.ended(cast_id)
    path = f"/api/v1/casts/{cast_id}"
    for sub in ("", "/events", "/artifacts/spell-result"):
        assert here.call("GET", path + sub).status_code == 200
        answer = here.call("GET", path + sub, key=theirs)
        assert (answer.status_code, answer.json()["code"]) == (404, "CAST_NOT_FOUND"), sub
    assert here.call("GET", "/api/v1/casts", key=theirs).json()["results"] == []


def test_a_signed_link_opens_its_own_cast_for_reading_only(here: Platform):
    one, other = here.cast("echo", {}), here.cast("echo", {})
    for cast in (one, other):
        here.ended(cast["cast_id"])
    base, token = one["events_url"].split("?token=")
    assert base == f"{here.url}/api/v1/casts/{one['cast_id']}/events"
    assert events(here, one["cast_id"], key="", token=token).status_code == 200
    assert requests.get(one["progress_url"], timeout=10).status_code == 200
    artifact = f"/api/v1/casts/{one['cast_id']}/artifacts/spell-result"
    assert here.call("GET", artifact, key="", params={"token": token}).content.startswith(b"PK")
    # Not another cast, not changed, not without it.
    assert events(here, other["cast_id"], key="", token=token).status_code in (401, 404)
    others = artifact.replace(one["cast_id"], other["cast_id"])
    assert here.call("GET", others, key="", params={"token": token}).status_code in (401, 404)
    assert events(here, one["cast_id"], key="", token=token[:-1]).status_code == 401
    assert events(here, one["cast_id"], key="").status_code == 401
    # Nothing but reading.
    budget = here.call("GET", "/api/v1/budget").json()
    body = {"spell_key": "echo", "input": {}}
    for method, path in [
        ("POST", "/api/v1/cast"),
        ("POST", f"/api/v1/casts/{one['cast_id']}/cancel"),
        ("POST", f"/api/v1/casts/{one['cast_id']}/retry"),
        ("POST", f"/api/v1/casts/{one['cast_id']}/events"),
        ("DELETE", f"/api/v1/casts/{one['cast_id']}"),
        ("GET", "/api/v1/casts"),
        ("GET", "/api/v1/budget"),
        ("GET", "/api/v1/keys"),
    ]:
        answer = here.call(method, path, key="", params={"token": token}, json=body if method == "POST" else None)
        assert answer.status_code in (401, 404, 405), (method, path, answer.status_code)
    assert here.call("GET", "/api/v1/budget").json() == budget


def test_a_key_revoked_by_another_process_is_refused_everywhere_and_its_streams_end(here: Platform):
    made = here.call("POST", "/api/v1/keys", json={"name": "short-lived"})
    assert made.status_code == 201, made.text
    key, number = made.json()["secret"], made.json()["id"]
    cast_id = here.cast("echo", {})["cast_id"]
    here.ended(cast_id)
    paths = [f"/api/v1/casts/{cast_id}{sub}" for sub in ("", "/events", "/artifacts/spell-result")] + ["/api/v1/spells"]
    assert [here.call("GET", path, key=key).status_code for path in paths] == [200] * 4
    gate = here.gate()
    running = here.cast("gate", {"gate": str(gate)})["cast_id"]
    with here.call("GET", f"/api/v1/casts/{running}/events", key=key, stream=True) as stream:
        found = f"ApiKey.objects.get(pk={number})"
        here.manage(
            "shell", "-c", f"from accounts import keys; from accounts.models import ApiKey; keys.revoke({found})"
        )
        assert stream.text.endswith('event: access_ended\ndata: {"reason": "key_revoked"}\n\n')
    assert here.row(running)["status"] in ("queued", "running")
    gate.touch()
    assert [here.call("GET", path, key=key).status_code for path in paths] == [401] * 4
    refused = here.call("POST", "/api/v1/cast", key=key, json={"spell_key": "echo", "input": {}})
    assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHORIZED")
