"""GitHub's wire format, read tolerantly: its samples, its published examples, and what is left out of them."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casts.runtime import Annotation
from github_integration import errors, wire

from .doubles import LONG_TOKEN, SAMPLES, described, sample

RUNS = sorted(path.stem for path in SAMPLES.glob("workflow_run.*.json"))
JOBS = sorted(path.stem for path in SAMPLES.glob("workflow_job.*.json"))
BARE_RUN = {"id": 7}


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]


# --- runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_every_sample_of_a_run_is_read(name: str) -> None:
    run = sample(name)["workflow_run"]
    seen = wire.run_seen("octo-org/octo-repo", run)
    assert (seen.run_key, seen.attempt, seen.status) == (str(run["id"]), 1, run["status"])
    assert seen.conclusion == run["conclusion"]
    assert seen.url == run["html_url"]
    assert seen.updated_at == wire.parse_time(run["updated_at"]) is not None
    assert seen.jobs is None


def test_status_is_the_runs_own_whatever_the_action_says() -> None:
    assert wire.run_seen("o/r", sample("workflow_run.completed.status-queued")["workflow_run"]).status == "queued"
    early = wire.run_seen("o/r", sample("workflow_run.requested.status-completed-action_required")["workflow_run"])
    assert (early.status, early.conclusion) == ("completed", "action_required")


def test_published_example_of_a_run_is_read() -> None:
    run = described("actions.get-workflow-run")["responses"]["200"]["examples"]["default"]
    seen = wire.run_seen("octo-org/octo-repo", run)
    assert (seen.run_key, seen.title, seen.run_started_at) == ("30433642", "", utc(2020, 1, 22, 19, 33, 8))  # of a push
    assert wire.run_file(run) == "build.yml"


@pytest.mark.parametrize("name", RUNS)
def test_run_is_read_with_any_field_missing_or_null(name: str) -> None:
    run = sample(name)["workflow_run"]
    for field in set(run) - {"id"}:
        wire.run_seen("o/r", {key: value for key, value in run.items() if key != field})
        wire.run_seen("o/r", {**run, field: None})


def test_run_that_says_nothing_but_its_id_is_a_queued_one() -> None:
    seen = wire.run_seen("o/r", BARE_RUN)
    assert (seen.run_key, seen.attempt, seen.status, seen.conclusion, seen.title) == ("7", 1, "queued", None, "")
    assert (seen.run_started_at, seen.updated_at) == (None, None)


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (".github/workflows/cast.yml", "cast.yml"),
        (".github/workflows/cast.yml@main", "cast.yml"),
        (".github/workflows/cast.yml@refs/heads/a/b", "cast.yml"),
        ("dynamic/pages/pages-build-deployment", "pages-build-deployment"),
        ("", ""),
        (None, ""),
    ],
)
def test_file_of_a_run_is_the_last_part_of_its_path_without_the_ref(path: str | None, file: str) -> None:
    assert wire.run_file({"path": path}) == file


@pytest.mark.parametrize("event", ["workflow_dispatch", "repository_dispatch", None])
def test_title_of_a_dispatched_run_is_its_run_name(event: str | None) -> None:
    run = {**BARE_RUN, "display_title": "fireball [cast:1]", "event": event}
    assert wire.run_seen("o/r", run).title == "fireball [cast:1]"


@pytest.mark.parametrize("event", ["push", "pull_request", "workflow_run", "schedule", "issue_comment"])
def test_title_of_any_other_run_may_quote_a_token_and_proves_nothing(event: str) -> None:
    run = {**BARE_RUN, "display_title": "Commit what [cast:1] made", "event": event}
    assert wire.run_seen("o/r", run).title == ""


# --- jobs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", JOBS)
def test_every_sample_of_a_job_is_read(name: str) -> None:
    raw = sample(name)["workflow_job"]
    job = wire.job_seen(raw)
    assert (job.id, job.name, job.status, job.conclusion) == (raw["id"], raw["name"], raw["status"], raw["conclusion"])
    assert [step.name for step in job.steps] == [step["name"] for step in raw["steps"]]


@pytest.mark.parametrize("name", JOBS)
def test_job_is_read_with_any_field_missing_or_null(name: str) -> None:
    raw = sample(name)["workflow_job"]
    for field in set(raw) - {"id"}:
        wire.job_seen({key: value for key, value in raw.items() if key != field})
        wire.job_seen({**raw, field: None})
    for number, step in enumerate(raw["steps"]):
        for field in step:
            broken = copy.deepcopy(raw)
            broken["steps"][number][field] = None
            wire.job_seen(broken)


def test_published_examples_of_jobs_and_artifacts_are_read() -> None:
    jobs = described("actions.list-jobs-for-workflow-run")["responses"]["200"]["examples"]["default"]["jobs"]
    job = wire.job_seen(jobs[0])
    assert (job.id, job.name, job.conclusion, len(job.steps)) == (399444496, "build", "success", 10)
    listed = described("actions.list-workflow-run-artifacts")["responses"]["200"]["examples"]["default"]["artifacts"]
    first = wire.artifact_seen(listed[0])
    assert (first.id, first.name, first.size_bytes, first.expired) == (11, "Rails", 556, False)
    assert first.digest.startswith("sha256:")
    assert first.made_at == wire.parse_time(listed[0]["created_at"]) is not None


@pytest.mark.parametrize("missing", ["digest", "size_in_bytes", "expired", "created_at", "workflow_run"])
def test_artifact_is_read_without(missing: str) -> None:
    raw = {"id": 1, "name": "out", "size_in_bytes": 3, "digest": "sha256:00", "expired": False}
    raw.pop(missing, None)
    assert wire.artifact_seen(raw).name == "out"
    assert wire.artifact_seen({**raw, missing: None}).name == "out"


# --- text that a database could not keep -----------------------------------------------------------------

ODD = "a\x00b\ud800c"


def test_nul_and_half_characters_never_get_past_the_wire() -> None:
    run = wire.run_seen("o/r", {**BARE_RUN, "display_title": ODD, "html_url": ODD, "status": ODD, "conclusion": ODD})
    step = {"name": ODD, "status": ODD, "conclusion": ODD}
    job = wire.job_seen({"id": 1, "name": ODD, "status": ODD, "conclusion": ODD, "html_url": ODD, "steps": [step]})
    artifact = wire.artifact_seen({"id": 1, "name": ODD, "digest": ODD})
    started = wire.run_started({"workflow_run_id": 1, "html_url": ODD})
    assert wire.log_tail(f"##[error]{ODD}", 5) == ("##[error]ab?c",)
    for kept in (run, job, artifact, started):
        text = repr(kept)
        assert "\\x00" not in text
        assert "\\ud800" not in text
        assert "ab?c" in text


# --- times -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-23T10:00:00Z", utc(2026, 11, 23, 10)),
        ("2020-10-02T12:42:30.000Z", utc(2020, 10, 2, 12, 42, 30)),
        ("2026-11-23T12:00:00+02:00", utc(2026, 11, 23, 10)),
        ("2026-11-23T10:00:00", utc(2026, 11, 23, 10)),
        (1575915797, utc(2019, 12, 9, 18, 23, 17)),
        (1575915797.0, utc(2019, 12, 9, 18, 23, 17)),
        (None, None),
        ("", None),
        (True, None),
        ("yesterday", None),
        ("2026-13-45T00:00:00Z", None),
        (10**30, None),
        (float("nan"), None),
        ({}, None),
        ([], None),
    ],
)
def test_times_come_as_text_or_epoch_seconds_or_not_at_all(value: Any, moment: dt.datetime | None) -> None:
    assert wire.parse_time(value) == moment


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.datetimes().map(str)))
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_parse_time_of_anything_is_a_time_in_a_zone_or_none(value: Any) -> None:
    found = wire.parse_time(value)
    assert found is None or found.tzinfo is not None


# --- anything at all -------------------------------------------------------------------------------------

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(
    run=st.sampled_from(RUNS), changes=st.dictionaries(st.sampled_from(sorted(sample(RUNS[0])["workflow_run"])), JUNK)
)
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
def test_mutated_run_is_read_or_malformed_in_a_known_way(run: str, changes: dict[str, Any]) -> None:
    body = {**sample(run)["workflow_run"], **changes}
    try:
        seen = wire.run_seen("o/r", body)
    except (KeyError, TypeError, ValueError, OverflowError):
        return
    json.dumps([seen.title, seen.url, seen.status, seen.conclusion]).encode()


@given(
    job=st.sampled_from(JOBS), changes=st.dictionaries(st.sampled_from(sorted(sample(JOBS[0])["workflow_job"])), JUNK)
)
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
def test_mutated_job_is_read_or_malformed_in_a_known_way(job: str, changes: dict[str, Any]) -> None:
    body = {**sample(job)["workflow_job"], **changes}
    try:
        wire.job_seen(body)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return


@given(status=st.integers(400, 599), body=st.one_of(JUNK, st.fixed_dictionaries({"message": JUNK, "errors": JUNK})))
@settings(max_examples=200, derandomize=True, deadline=None, database=None)
def test_any_error_body_becomes_an_error_with_a_message(status: int, body: Any) -> None:
    found = wire.error_of(status, {}, body, now=utc(2026, 1, 1))
    assert isinstance(found, errors.GitHubError)
    assert str(found)


# --- logs ------------------------------------------------------------------------------------------------

LOG = "\n".join(
    [
        "\ufeff2026-11-23T10:00:00.1234567Z Current runner version: '2.330.0'",
        "2026-11-23T10:00:01.1234567Z ##[group]Run make",
        "2026-11-23T10:00:02.1234567Z \x1b[36;1mmake all\x1b[0m",
        "2026-11-23T10:00:02.1234567Z ##[endgroup]",
        "2026-11-23T10:00:03.1234567Z cc: warning",
        "2026-11-23T10:00:04.1234567Z ##[error]first trouble",
        "2026-11-23T10:00:05.1234567Z \x1b[1;31mno rule to make target\x1b[0m",
        "2026-11-23T10:00:06.1234567Z ##[error]Process completed with exit code 2.",
        "2026-11-23T10:00:07.1234567Z Post job cleanup.",
        "2026-11-23T10:00:08.1234567Z Cleaning up orphan processes",
    ]
)


def test_tail_of_a_log_ends_at_its_last_error_without_times_and_colours() -> None:
    assert wire.log_tail(LOG, 4) == (
        "cc: warning",
        "##[error]first trouble",
        "no rule to make target",
        "##[error]Process completed with exit code 2.",
    )


ECHO = """2026-11-23T12:00:00Z ##[group]Run ./brew --all
2026-11-23T12:00:00Z \x1b[36;1m./brew --all\x1b[0m
2026-11-23T12:00:00Z \x1b[36;1mexit 1\x1b[0m
2026-11-23T12:00:00Z shell: /usr/bin/bash -e {0}
2026-11-23T12:00:00Z env:
2026-11-23T12:00:00Z   SECRET: ***
2026-11-23T12:00:00Z ##[endgroup]
"""


@pytest.mark.parametrize(
    ("log", "tail"),
    [
        (ECHO + "brewing\n##[error]it broke\n", ("brewing", "##[error]it broke")),
        ("##[group]Run echo hi\n\x1b[36;1mecho hi\x1b[0m\n##[endgroup]\nhi\n", ("hi",)),
        ("##[group]Run actions/checkout@v4\nwith:\n  ref: main\nenv:\n  A: b\n##[endgroup]\nhi\n", ("hi",)),
        ("##[group]Run actions/checkout@v4\n##[endgroup]\nhi\n", ("hi",)),
        ("##[group]Stones\none\n##[endgroup]\n##[error]loose\n", ("one", "##[error]loose")),
        ("##[group]Run the tests\n1 of 2 failed\n##[endgroup]\n##[error]no\n", ("1 of 2 failed", "##[error]no")),
        ("shell: /usr/bin/bash -e {0}\n##[endgroup]\nhi\n", ("shell: /usr/bin/bash -e {0}", "hi")),
        ("##[group]Run ./brew\n./brew\n", ("./brew",)),
        ("##[group]Run ./brew\n./brew\n##[group]Inner\nhi\n", ("hi",)),
    ],
    ids=[
        "script",
        "script without its shell",
        "action",
        "action without settings",
        "own group",
        "own group that begins with Run",
        "cut at its beginning",
        "cut at its end",
        "never closed",
    ],
)
def test_tail_of_a_log_leaves_out_the_workflows_echo_and_marks_of_groups(log: str, tail: tuple[str, ...]) -> None:
    assert wire.log_tail(log, 20) == tail


def test_errors_of_a_step_are_those_between_its_times() -> None:
    log = "".join(f"2026-11-23T12:00:{n:02}.1234567Z ##[error]\x1b[31mno {n}\x1b[0m\nmore\n" for n in (1, 5, 6, 8))
    assert wire.errors_in_log(log, at(5), at(6)) == ("no 5", "no 6")
    assert wire.errors_in_log(log, None, None) == ("no 1", "no 5", "no 6", "no 8")
    assert wire.errors_in_log("##[error]undated ghs_" + "a" * 40 + "\n", at(5), at(6)) == ("undated ghs_…",)


def at(second: int) -> dt.datetime:
    return dt.datetime(2026, 11, 23, 12, 0, second, tzinfo=dt.UTC)


def test_published_example_of_an_annotation_is_read() -> None:
    [example] = described("checks.list-annotations")["responses"]["200"]["examples"]["default"]
    seen = wire.annotation_seen(example)
    assert seen == Annotation("Check your spelling for 'banaas'.", "warning", "Spell Checker", "README.md", 2)


@pytest.mark.parametrize("gone", ["path", "start_line", "annotation_level", "title", "message"])
def test_annotation_is_read_with_any_field_null(gone: str) -> None:
    told = {"path": "a", "start_line": 1, "annotation_level": "failure", "title": "t", "message": "m"}
    wire.annotation_seen(told | {gone: None})
    wire.annotation_seen({name: value for name, value in told.items() if name != gone})


def test_place_in_the_log_is_no_place_in_a_file() -> None:
    seen = wire.annotation_seen({"path": ".github", "start_line": 12, "annotation_level": "failure", "message": " m "})
    assert seen == Annotation("m", "error")


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"start_line": 1, "end_line": 1, "start_column": None, "end_column": None}, None),
        ({"start_line": 1, "end_line": 1}, None),
        ({"start_line": 1, "end_line": 1, "start_column": 1, "end_column": 1}, 1),
        ({"start_line": 1, "end_line": 4}, 1),
        ({"start_line": 2, "end_line": 2}, 2),
    ],
)
def test_first_line_of_a_file_is_no_line_unless_more_is_said(told: dict[str, int | None], line: int | None) -> None:
    """GitHub tells a file without a line as its line 1."""
    seen = wire.annotation_seen({"path": "b.txt", "annotation_level": "failure", "message": "m"} | told)
    assert seen == Annotation("m", "error", "", "b.txt", line)


@pytest.mark.parametrize(
    ("message", "commonplace"),
    [
        ("Process completed with exit code 1.", True),
        ("Process completed with exit code -1073741819.", True),
        ("The operation was canceled.", True),
        ("", True),
        ("Process completed with exit code 1. See the log.", False),
        ("a loose cobblestone", False),
    ],
)
def test_what_the_runner_says_of_every_failed_step_is_commonplace(message: str, commonplace: bool) -> None:
    assert wire.is_commonplace(message) is commonplace


def test_whole_log_is_kept_when_it_is_short() -> None:
    tail = wire.log_tail(LOG, 100)
    assert tail[0] == "Current runner version: '2.330.0'"
    assert tail[1] == "cc: warning"
    assert len(tail) == 5


def test_log_without_an_error_ends_at_its_end() -> None:
    assert wire.log_tail("a\nb\nc", 2) == ("b", "c")


@pytest.mark.parametrize("text", ["", "\n"])
def test_empty_log_has_no_tail_to_speak_of(text: str) -> None:
    assert wire.log_tail(text, 5) in ((), ("",))


def test_long_lines_are_cut_and_tokens_hidden() -> None:
    (line,) = wire.log_tail(f"##[error]fatal: {LONG_TOKEN} was refused " + "x" * 5000, 5)
    assert len(line) == 1000
    assert line.startswith("##[error]fatal: ghs_… was refused xxx")


ESC, BEL, ST = "\x1b", "\x07", "\x1b\\"


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("\r".join(f"{n} %" for n in range(101)), "100 %"),
        ("\r 10 %\r 20 %\r", " 20 %"),
        ("it ends as on Windows\r", "it ends as on Windows"),
        (f"\r{ESC}[K 1/2\r{ESC}[K 2/2{ESC}[?25h", " 2/2"),
        (f"{ESC}[?25l", ""),
        (f"{ESC}(B{ESC}[m plain {ESC})0{ESC}#8", " plain "),
        (f"{ESC}]0;a title{BEL}done", "done"),
        (f"{ESC}]0;a title{ST}done", "done"),
        (f"see {ESC}]8;;https://example.com/a{ST}the page{ESC}]8;;{ST}!", "see the page!"),
        (f"{ESC}]0;a title without an end", ""),
        (f"{ESC}P1$r0m{ST}{ESC}_x{ST}{ESC}^y{ST}left", "left"),
        (f"{ESC}[38;2;255;0;0mred{ESC}[0m {ESC}[38:5:1mred{ESC}[0m", "red red"),
        (f"{ESC}7{ESC}8{ESC}=\x9b31mred\x9b0m", "red"),
        (f"cut off {ESC}[38;2", "cut off "),
        (f"cut off {ESC}", "cut off "),
        ("tab\tstays, bell\x07 and \x0bothers go", "tab\tstays, bell and others go"),
        (f"{ESC}[32m##[error]red\r", "##[error]red"),
        ("[1] and ]8;; without an escape stay", "[1] and ]8;; without an escape stay"),
        ("进入 ✅ Zoë", "进入 ✅ Zoë"),
    ],
)
def test_line_reads_as_a_terminal_would_leave_it(line: str, plain: str) -> None:
    assert wire.plain_line(line) == plain


def test_progress_bar_is_one_line_of_the_tail() -> None:
    bar = "\r".join(f"{n} %" for n in range(101))
    assert wire.log_tail(f"start\n{bar}\n\x1b[?25l\nnone\x85 such\u2028word\n##[error]x\n", 9) == (
        *("start", "100 %", "none such\u2028word"),
        "##[error]x",
    )


@given(st.text(alphabet="\x1b[]()?;0m\x07\\\r\x9b x"))
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
def test_no_line_keeps_a_control_character(line: str) -> None:
    assert not {"\x1b", "\r", "\x07", "\x9b"} & set(wire.plain_line(line))


def test_time_in_the_middle_of_a_line_stays() -> None:
    (line,) = wire.log_tail("2026-11-23T10:00:00.1Z at 2026-11-23T10:00:00.1Z it broke", 5)
    assert line == "at 2026-11-23T10:00:00.1Z it broke"


# --- the delivery log ------------------------------------------------------------------------------------


def test_published_lines_of_the_log_are_read() -> None:
    lines = described("apps.list-webhook-deliveries")["responses"]["200"]["examples"]["default"]
    seen = [wire.delivery_logged(line) for line in lines]
    assert [(line.guid, line.event, line.installation) for line in seen if line] == [
        ("0b989ba4-242f-11e5-81e1-c7b6966d2516", "issues", 123)
    ] * 2
    assert seen[0] is not None
    assert seen[0].delivered_at == utc(2019, 6, 3, 0, 57, 16)
    assert (seen[0].status, seen[0].status_code) == ("OK", 200)


@pytest.mark.parametrize("change", [{"id": "1"}, {"id": True}, {"id": None}, {"guid": ""}, {"delivered_at": None}])
def test_line_that_says_too_little_is_none(change: dict[str, Any]) -> None:
    line = {"id": 1, "guid": "g", "delivered_at": "2026-11-23T12:00:00Z"}
    assert wire.delivery_logged(line | change) is None
    assert wire.delivery_logged(line) == wire.LoggedDelivery(1, "g", "", utc(2026, 11, 23, 12), None)


DELIVERIES = "https://api.github.com/app/hook/deliveries?per_page=100"


@pytest.mark.parametrize(
    ("link", "cursor"),
    [
        ("", ""),
        (f'<{DELIVERIES}&cursor=v1_17>; rel="next"', "v1_17"),
        (f"<{DELIVERIES}&cursor=v1_17>;rel=next", "v1_17"),
        (f'<{DELIVERIES}&cursor=v1_1>; rel="prev", <{DELIVERIES}&cursor=v1_17>; rel="next"', "v1_17"),
        (f'<{DELIVERIES}&cursor=v1_17>; rel="next", <{DELIVERIES}&cursor=v1_1>; rel="first"', "v1_17"),
        (f'<{DELIVERIES}&cursor=a%2Cb%3D%3D>; rel="next"', "a,b=="),
        (f'<{DELIVERIES}&cursor=v1_1>; rel="prev"', ""),
        (f'<{DELIVERIES}&page=2>; rel="next"', ""),
        ("nonsense", ""),
    ],
)
def test_next_cursor_is_that_of_the_next_page_alone(link: str, cursor: str) -> None:
    assert wire.next_cursor(link) == cursor


@given(st.text())
def test_any_link_header_has_a_next_cursor_or_none(link: str) -> None:
    assert isinstance(wire.next_cursor(link), str)
