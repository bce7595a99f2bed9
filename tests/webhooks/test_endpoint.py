"""The endpoint itself: who is let in, what is kept, and what GitHub is told."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from casts.models import Cast
from github_integration.models import Installation, WorkflowTarget
from webhooks.inbox import apply_again, receive_delivery
from webhooks.models import Delivery
from webhooks.reading import Malformed

from .conftest import ENDPOINT, SAMPLES, SECRET, again, deliver, job_event, run_event, sample, sign, stored, work_off

Outcome = Delivery.Outcome
NAMES = sorted(path.stem for path in SAMPLES.glob("*.json"))
KEPT = {"workflow_run", "workflow_job", "ping", "installation", "installation_repositories"}


def event_of(name: str) -> str:
    return name.split(".", 1)[0]


# --- GitHub's samples ------------------------------------------------------------------------------------


def test_there_are_samples_of_everything_we_handle() -> None:
    assert len(NAMES) >= 24
    assert {event_of(name) for name in NAMES} >= KEPT


@pytest.mark.django_db
@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_accepted_and_its_repeat_is_known(name: str) -> None:
    event, guid, body = event_of(name), str(uuid.uuid4()), sample(name)
    assert deliver(event, body, guid=guid).status_code == 202
    repeat = deliver(event, body, guid=guid)
    if event not in KEPT:
        assert repeat.status_code == 202
        assert not Delivery.objects.exists()
        return
    assert repeat.status_code == 200
    row = Delivery.objects.get(guid=guid)
    assert (row.event, row.action, row.repeats) == (event, body.get("action", ""), 1)
    assert json.loads(row.body) == body
    assert (row.error, row.due_at) == ("", None)
    assert row.applied_at is not None
    ours = event == "installation" or name == "installation_repositories.added"
    assert row.outcome == (Outcome.NOT_OURS if event.startswith("workflow") else "applied" if ours else "nothing_new")


@pytest.mark.django_db
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("workflow_")])
def test_sample_of_somebody_elses_run_touches_no_cast(name: str, cast: Cast, running: Cast) -> None:
    before = list(Cast.objects.order_by("pk").values())
    assert deliver(event_of(name), sample(name)).status_code == 202
    assert list(Cast.objects.order_by("pk").values()) == before


@pytest.mark.django_db
def test_columns_say_what_the_delivery_is_about(running: Cast) -> None:
    deliver("workflow_job", job_event(running, "queued"), guid=GUID)
    row = stored()
    assert (row.guid, row.event, row.action) == (GUID, "workflow_job", "queued")
    assert (row.repository, row.run_id) == (running.run_scope, 42)


@pytest.mark.django_db
def test_answers_have_no_body() -> None:
    assert deliver("ping", sample("ping.app.derived")).content == b""


# --- the signature ---------------------------------------------------------------------------------------

FORGERIES: dict[str, Any] = {
    "none": None,
    "empty": "",
    "another secret": "wrong",
    "of another body": sign(b"{}"),
    "sha1": "sha1=" + "0" * 40,
    "not hexadecimal": "sha256=" + "z" * 64,
}


@pytest.mark.django_db
@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_forged_delivery_changes_nothing_and_is_not_stored(cast: Cast, forged: str | None) -> None:
    body = run_event(cast, "completed")
    header = sign(json.dumps(body).encode(), "wrong") if forged == "wrong" else forged
    answer = deliver("workflow_run", body, X_Hub_Signature_256=header)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (401, "UNAUTHORIZED")
    assert "GITHUB_WEBHOOK_SECRET" in problem["detail"]
    assert SECRET not in answer.content.decode()
    assert not Delivery.objects.exists()
    after = again(cast)
    assert (after.run_key, after.last_seq, after.status) == (None, 1, "queued")


@pytest.mark.django_db
def test_forged_installation_event_makes_no_installation() -> None:
    assert deliver("installation", sample("installation.created"), X_Hub_Signature_256=None).status_code == 401
    assert not Installation.objects.exists()


@pytest.mark.django_db
def test_signature_is_of_the_raw_bytes() -> None:
    raw = b'{ "zen":"caf\\u00e9 caf\xc3\xa9",\n\n "hook_id" : 1 }  '
    assert deliver("ping", raw).status_code == 202
    assert stored().body == raw.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(("secrets", "status"), [(["new", SECRET], 202), ([SECRET, "old"], 202), (["new"], 401)])
def test_two_secrets_are_accepted_while_one_is_changed(settings: Any, secrets: list[str], status: int) -> None:
    settings.GITHUB_WEBHOOK_SECRETS = secrets
    assert deliver("ping", sample("ping.app.derived")).status_code == status


@pytest.mark.django_db
@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nobody_is_let_in(settings: Any, secrets: list[str]) -> None:
    settings.GITHUB_WEBHOOK_SECRETS = secrets
    body = json.dumps(sample("ping.app.derived")).encode()
    assert deliver("ping", body, X_Hub_Signature_256=sign(body, "")).status_code == 401
    assert not Delivery.objects.exists()


# --- what is no delivery ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
def test_only_post_is_a_delivery(method: str) -> None:
    answer = getattr(Client(), method)(ENDPOINT)
    assert answer.status_code == 405
    assert answer["Allow"] == "POST"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"X-GitHub-Delivery": None}, 400),
        ({"X-GitHub-Delivery": "x" * 65}, 400),
        ({"X-GitHub-Event": None}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_headers_must_be_those_of_a_delivery(changes: dict[str, Any], status: int) -> None:
    answer = deliver("ping", sample("ping.app.derived"), **changes)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_content_type_may_name_its_charset() -> None:
    answer = deliver("ping", sample("ping.app.derived"), **{"Content-Type": "application/json; charset=utf-8"})
    assert answer.status_code == 202


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"not JSON",
        b'{"cut',
        b"payload=%7B%7D",
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"zen": "\x00"}',
        b'{"zen": NaN}',
        b'{"zen": Infinity}',
    ],
)
def test_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    answer = deliver("ping", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")
    assert not Delivery.objects.exists()


BEYOND: list[Any] = [2**63, -1, 0, True, None, "x", [], {}, 1.5, 1e400, "1" * 5000]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("workflow_run", {"workflow_run": {}}),
        ("workflow_job", {"workflow_job": {"id": 1}}),
        ("workflow_run", {"repository": "text", "workflow_run": {"id": 1}}),
        ("workflow_run", {"repository": [1], "workflow_run": {"id": 1}}),
        *[("workflow_run", {"workflow_run": {"id": run_id}}) for run_id in BEYOND],
        *[("workflow_job", {"workflow_job": {"id": 1, "run_id": run_id}}) for run_id in BEYOND],
        ("workflow_run", {}),
        ("workflow_run", {"workflow_run": [1]}),
        ("workflow_job", {"workflow_run": {"id": 1}}),
    ],
)
def test_body_that_can_not_be_filed_is_refused_not_a_crash(event: str, body: dict[str, Any]) -> None:
    answer = deliver(event, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_characters_that_no_database_keeps_do_no_harm() -> None:
    body = {"zen": "z", "action": "a\x00b\ud800c", "repository": {"full_name": "o/\x00r"}}
    assert deliver("ping", body).status_code == 202
    assert (stored().action, stored().repository) == ("ab?c", "o/r")
    assert json.loads(stored().body) == body


@pytest.mark.django_db
@pytest.mark.parametrize("length", [40, 41, 1000])
def test_long_action_and_name_are_cut_to_what_the_columns_hold(length: int) -> None:
    body = {"zen": "z", "action": "a" * length, "repository": {"full_name": "r" * length}}
    assert deliver("ping", body).status_code == 202
    assert (len(stored().action), len(stored().repository)) == (min(length, 40), min(length, 140))


@pytest.mark.django_db
@pytest.mark.parametrize("event", ["check_run", "workflow_dispatch", "star", "brand_new_event"])
@pytest.mark.parametrize("body", [{"action": "created"}, b"whatever"])
def test_event_that_we_do_not_handle_is_accepted_and_not_kept(event: str, body: Any) -> None:
    assert deliver(event, body).status_code == 202
    assert not Delivery.objects.exists()


# --- size ------------------------------------------------------------------------------------------------

GUID = "0b989ba4-242f-11e5-81e1-c7b6966d2516"
MEGABYTE = 1_000_000


@pytest.mark.django_db
def test_twenty_five_megabytes_are_taken_as_github_sends_no_more() -> None:
    frame = b'{"zen": ""}'
    raw = frame[:-2] + b"x" * (25 * MEGABYTE - len(frame)) + frame[-2:]
    assert len(raw) == 25 * MEGABYTE
    assert deliver("ping", raw).status_code == 202
    assert len(stored().body) == 25 * MEGABYTE


@pytest.mark.django_db
def test_larger_body_is_refused_and_not_stored() -> None:
    answer = deliver("ping", b'{"zen": "' + b"x" * (26 * 1024 * 1024) + b'"}')
    assert answer.status_code == 413
    assert (answer["Content-Type"], answer.json()["code"]) == ("application/problem+json", "INPUT_TOO_LARGE")
    assert not Delivery.objects.exists()


# --- once ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_repeat_is_counted_another_body_is_refused_and_neither_changes_anything(running: Cast) -> None:
    body = run_event(running, "in_progress")
    deliver("workflow_run", body, guid=GUID)
    before, first = again(running), Delivery.objects.get()
    # Written otherwise, as the sweep does, it says the same.
    assert deliver("workflow_run", json.dumps(body, indent=1).encode(), guid=GUID.upper()).status_code == 200
    answer = deliver("workflow_run", run_event(running, "completed"), guid=GUID)
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    row = Delivery.objects.get()
    assert (row.repeats, row.altered, row.body, row.outcome) == (1, 1, first.body, first.outcome)
    assert again(running).last_seq == before.last_seq


@pytest.mark.django_db(transaction=True)
def test_eight_deliveries_of_one_guid_at_once_are_stored_and_applied_once(running: Cast) -> None:
    body = run_event(running, "in_progress")
    at_once, answers = threading.Barrier(8), []

    def post() -> None:
        try:
            at_once.wait(10)
            answers.append(deliver("workflow_run", body, guid=GUID).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=post) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert sorted(answers) == [200] * 7 + [202]
    row = Delivery.objects.get()
    assert (row.repeats, row.outcome) == (7, Outcome.APPLIED)
    assert [event.kind for event in running.events.order_by("seq")] == ["accepted", "observed"]


@pytest.mark.django_db(transaction=True)
def test_eight_different_deliveries_of_one_run_at_once_all_count_in_any_order(running: Cast) -> None:
    bodies = [job_event(running, "queued", number=n) for n in range(6)]
    bodies += [run_event(running, "requested"), run_event(running, "in_progress")]
    at_once, answers = threading.Barrier(8), []

    def post(body: dict[str, Any]) -> None:
        try:
            at_once.wait(10)
            answers.append(deliver("workflow_job" if "workflow_job" in body else "workflow_run", body).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert answers == [202] * 8
    after = again(running)
    assert (after.status, after.status_reason) == ("queued", "waiting_for_runner")
    assert [job["id"] for job in after.jobs] == list(range(6))
    assert [event.seq for event in after.events.order_by("seq")] == list(range(1, after.last_seq + 1))
    assert not Delivery.objects.exclude(error="").exists()


@pytest.mark.django_db
def test_receiving_tells_new_from_seen_and_malformed() -> None:
    body = json.dumps(sample("ping.app.derived")).encode()
    assert receive_delivery(guid="g", event="ping", body=body)
    assert not receive_delivery(guid="g", event="ping", body=body)
    with pytest.raises(Malformed):
        receive_delivery(guid="h", event="ping", body=b"[]")


# --- what does not fit together, and what can't be --------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("event", "other", "headers"),
    [
        ("ping", "workflow_run.requested", {}),
        ("workflow_job", "workflow_run.requested", {}),
        ("workflow_run", "workflow_job.queued", {}),
        ("workflow_run", "ping.app.derived", {}),
        ("installation", "workflow_run.requested", {}),
        ("installation", "installation_repositories.added", {}),
        ("ping", "ping.app.derived", {"X_GitHub_Delivery": "1"}),
        ("ping", "ping.app.derived", {"X_GitHub_Delivery": "0b989ba4-242f-11e5-81e1-c7b6966d251"}),
        ("ping", "ping.app.derived", {"X_GitHub_Delivery": "0b989ba4242f11e581e1c7b6966d2516"}),
        (
            *("ping", "ping.app.derived"),
            {"X_GitHub_Hook_Installation_Target_Type": "integration", "X_GitHub_Hook_Installation_Target_ID": "2"},
        ),
    ],
)
def test_signed_body_that_does_not_fit_its_headers_is_refused(
    settings: Any, event: str, other: str, headers: dict[str, str]
) -> None:
    settings.GITHUB_APP_ID = "1"
    answer = deliver(event, sample(other), **headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")
    assert not Delivery.objects.exists()


ODD_NUMBERS: tuple[Any, ...] = ("x", 2**31, -1, [1], 10**400, {"a": 1}, "9" * 5000)


@pytest.mark.django_db
@pytest.mark.parametrize("number", ODD_NUMBERS, ids=range(len(ODD_NUMBERS)))
def test_values_that_can_not_be_are_kept_as_refused_with_one_line_and_never_tried_again(
    running: Cast, caplog: pytest.LogCaptureFixture, number: Any
) -> None:
    before = again(running)
    assert deliver("workflow_run", run_event(running, "completed", run_attempt=number)).status_code == 202
    row = stored()
    assert (row.outcome, row.due_at, row.attempts) == (Outcome.REFUSED, None, 0)
    assert row.error
    assert row.applied_at is not None  # so it is deleted with the others
    assert again(running).last_seq == before.last_seq
    [line] = [record for record in caplog.records if record.name == "webhooks.inbox"]
    assert (line.getMessage(), line.levelname, line.exc_info) == ("delivery refused", "WARNING", None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "values",
    [
        {"status": "s" * 500, "conclusion": "c" * 500},
        {"html_url": "https://github.com/" + "u" * 900},
        {"display_title": "\x00\ud800", "conclusion": "\x00"},
        {"created_at": "0001-01-01T00:00:00+23:59", "updated_at": "9999-12-31T23:59:59-23:59"},
        {"run_started_at": 10**30, "actor": [], "path": {}, "event": 5},
    ],
)
def test_odd_values_that_can_be_kept_never_stop_a_run_from_ending(cast: Cast, values: dict[str, Any]) -> None:
    Cast.objects.update(run_key="42")
    assert deliver("workflow_run", run_event(cast, "completed", **values)).status_code == 202
    assert stored().outcome == Outcome.APPLIED
    assert again(cast).run_finished_at is not None or "status" in values


@pytest.mark.django_db
def test_deep_bodies_are_malformed() -> None:
    assert deliver("ping", b'{"zen": ' + b"[" * 200_000 + b"]" * 200_000 + b"}").status_code == 400


@pytest.mark.django_db
def test_a_refused_delivery_is_tried_again_when_an_operator_wants_it(running: Cast) -> None:
    deliver("workflow_run", run_event(running, "completed", run_attempt="x"))
    assert apply_again([stored().pk]) == [stored().pk]
    assert work_off() == 1
    assert stored().outcome == Outcome.REFUSED


@pytest.mark.django_db
def test_a_title_with_two_tags_is_taken_for_nobodys_and_each_of_them_is_told_once(cast: Cast, make_cast: Any) -> None:
    other = make_cast()
    title = f"{cast.run_tag} {other.run_tag}"
    path = f".github/workflows/{WorkflowTarget.of(cast.spell).workflow_used}"
    for action in ("requested", "in_progress"):
        deliver("workflow_run", run_event(cast, action, title=title, path=path))
        assert stored().outcome == Outcome.NOT_OURS
    for one in (cast, other):
        assert again(one).run_key is None
        assert [event.kind for event in one.events.order_by("seq")] == ["accepted", "title_with_several_tags"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", [".github/workflows/other.yml", "", None, "cast.yml/other.yml"])
def test_a_run_of_another_workflow_is_not_adopted_whatever_its_title(cast: Cast, path: str | None) -> None:
    deliver("workflow_run", run_event(cast, "in_progress", path=path))
    assert (again(cast).run_key, stored().outcome) == (None, Outcome.NOT_OURS)
