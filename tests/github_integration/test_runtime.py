"""What GitHub's answers mean for a cast: refused, not now, nobody knows; and finding its one run again."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses
from django.utils import timezone
from responses import matchers
from urllib3.exceptions import NewConnectionError

from casts.execution.steps import CastWork
from casts.models import Artifact, Cast, CastStatus
from casts.runtime import (
    Annotation,
    ArtifactGone,
    DispatchRefused,
    Failure,
    NotNow,
    OutcomeUnknown,
    Run,
    RunGone,
    runtime_of,
)
from github_integration import api, identity, runtime
from github_integration.exclusive import LATEST_START
from github_integration.models import Installation
from github_integration.runtime import RepositoryDispatch, WorkflowDispatch

from .conftest import mint_into
from .doubles import API, LATER, REPO, check_request, described, sent_json

BASE = f"{API}/repos/{REPO}"
WORKFLOW = f"{BASE}/actions/workflows/cast.yml/dispatches"
EVENT = f"{BASE}/dispatches"
RUNS = f"{BASE}/actions/runs"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _github_com(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(identity, "learn", lambda installation: None)  # tests/github_integration/test_identity.py
    settings.GITHUB_API_URL, settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = API, "", "ghp_x"
    api.github.cache_clear()
    yield
    api.github.cache_clear()


@pytest.fixture
def as_app(settings: Any, http: responses.RequestsMock) -> Any:
    """Be the App of the test settings, with installation 1, instead of a personal token."""
    settings.GITHUB_APP_ID = "1"
    api.github.cache_clear()
    return mint_into(http)


@pytest.fixture
def running(make_cast: Callable[..., Cast]) -> Cast:
    return make_cast(run_key="7", status=CastStatus.RUNNING)


def step(cast: Cast) -> Cast:
    """Have a worker look at the cast once."""
    Cast.objects.filter(pk=cast.pk).update(due_at=timezone.now())
    [row] = Cast.due_rows().filter(pk=cast.pk).claim(limit=1, lease=dt.timedelta(seconds=30))
    row.give_back(CastWork().step(row))
    return Cast.objects.select_related("spell").get(pk=cast.pk)


# --- starting --------------------------------------------------------------------------------------------


def test_each_kind_of_spell_has_its_runtime(cast: Cast, event_cast: Cast) -> None:
    assert type(runtime_of(cast)) is WorkflowDispatch
    assert type(runtime_of(event_cast)) is RepositoryDispatch
    for kind in (cast, event_cast):
        assert isinstance(runtime_of(kind), runtime.WorkflowRuntime)


def test_workflow_receives_three_strings_the_input_as_json_text(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = make_cast(input={"name": "Zoë $(rm -rf /) `x` ${{ secrets.X }}", "n": 1})
    http.post(WORKFLOW, json={"workflow_run_id": 7, "html_url": "https://github.com/demo/spells/actions/runs/7"})
    run = WorkflowDispatch().start(cast, before=LATER)
    body = sent_json(http.calls[0])
    check_request("actions.create-workflow-dispatch.2026-03-10", body)
    assert run == Run(key="7", url="https://github.com/demo/spells/actions/runs/7")
    assert body["ref"] == "main"
    assert set(body["inputs"]) == {"cast_id", "spell_key", "input_data"}
    assert (body["inputs"]["cast_id"], body["inputs"]["spell_key"]) == (str(cast.pk), cast.spell.key)
    assert json.loads(body["inputs"]["input_data"]) == cast.input


def test_settings_fill_in_what_a_spell_does_not_name(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, settings: Any
) -> None:
    settings.GITHUB_WORKFLOW_FILE, settings.GITHUB_WORKFLOW_REF = "other.yml", "v2"
    cast = make_cast(spell={"workflow_file": ""})
    http.post(f"{BASE}/actions/workflows/other.yml/dispatches", json={"workflow_run_id": 7})
    WorkflowDispatch().start(cast, before=LATER)
    assert sent_json(http.calls[0])["ref"] == "v2"


def test_event_carries_the_same_three_strings_and_names_no_run(event_cast: Cast, http: responses.RequestsMock) -> None:
    http.post(EVENT, status=204)
    assert RepositoryDispatch().start(event_cast, before=LATER) is None
    body = sent_json(http.calls[0])
    check_request("repos.create-dispatch-event", body)
    assert body["event_type"] == "spell"
    assert set(body["client_payload"]) == {"cast_id", "spell_key", "input_data"}


def refused(address: str) -> requests.ConnectionError:
    """Return what requests raises when nobody listens."""
    from urllib3 import HTTPConnectionPool
    from urllib3.exceptions import MaxRetryError

    pool = HTTPConnectionPool("api.github.com")
    return requests.ConnectionError(MaxRetryError(pool, address, NewConnectionError(pool, "refused")))  # type: ignore[arg-type]


SAID = {"message": "as GitHub says"}
TROUBLE: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "400": ({"status": 400, "json": SAID}, DispatchRefused, ""),
    "401": ({"status": 401, "json": SAID}, NotNow, "github_not_configured"),
    "403": ({"status": 403, "json": SAID}, DispatchRefused, ""),
    "404": ({"status": 404, "json": SAID}, DispatchRefused, ""),
    "409": ({"status": 409, "json": SAID}, DispatchRefused, ""),
    "410": ({"status": 410, "json": SAID}, DispatchRefused, ""),
    "413": ({"status": 413, "json": SAID}, DispatchRefused, ""),
    "422": ({"status": 422, "json": SAID}, DispatchRefused, ""),
    "451": ({"status": 451, "json": SAID}, DispatchRefused, ""),
    "moved": ({"status": 301, "headers": {"Location": f"{API}/repositories/9/x"}}, DispatchRefused, ""),
    "suspended": (
        {"status": 403, "json": {"message": "This installation has been suspended"}},
        NotNow,
        "installation_suspended",
    ),
    "429": ({"status": 429, "json": SAID}, NotNow, "rate_limited"),
    "secondary": (
        {"status": 403, "json": {"message": "You have exceeded a secondary rate limit"}},
        NotNow,
        "rate_limited",
    ),
    "retry-after": ({"status": 403, "json": SAID, "headers": {"Retry-After": "30"}}, NotNow, "rate_limited"),
    "no connection": ({"body": refused(WORKFLOW)}, NotNow, "waiting_for_github"),
    "connect timeout": ({"body": requests.ConnectTimeout("slow")}, NotNow, "waiting_for_github"),
    "500": ({"status": 500, "json": SAID}, OutcomeUnknown, ""),
    "502": ({"status": 502, "body": "<html>"}, OutcomeUnknown, ""),
    "503": ({"status": 503, "json": SAID}, OutcomeUnknown, ""),
    "504": ({"status": 504, "json": SAID}, OutcomeUnknown, ""),
    "408": ({"status": 408, "json": SAID}, OutcomeUnknown, ""),
    "read timeout": ({"body": requests.ReadTimeout("silence")}, OutcomeUnknown, ""),
    "reset": ({"body": requests.ConnectionError("reset by peer")}, OutcomeUnknown, ""),
    "broken off": ({"body": requests.exceptions.ChunkedEncodingError("short")}, OutcomeUnknown, ""),
    "TLS": ({"body": requests.exceptions.SSLError("bad record")}, OutcomeUnknown, ""),
}


@pytest.mark.parametrize(("trouble", "kind", "reason"), TROUBLE.values(), ids=TROUBLE)
@pytest.mark.parametrize("target", ["workflow", "event"])
def test_failed_dispatch_means(
    request: pytest.FixtureRequest,
    http: responses.RequestsMock,
    target: str,
    trouble: dict[str, Any],
    kind: type[Exception],
    reason: str,
) -> None:
    cast = request.getfixturevalue("cast" if target == "workflow" else "event_cast")
    http.post(WORKFLOW if target == "workflow" else EVENT, **trouble)
    with pytest.raises(kind) as caught:
        runtime_of(cast).start(cast, before=LATER)
    assert type(caught.value) is kind
    assert getattr(caught.value, "reason", "") == reason
    assert len(http.calls) == 1
    if kind is NotNow:
        assert caught.value.retry_at > timezone.now()  # type: ignore[attr-defined]
    elif trouble.get("json") == SAID:
        assert str(caught.value).startswith("as GitHub says")


@pytest.mark.parametrize(("app", "named"), [(True, r"the App \(installation 1\)"), (False, "GITHUB_TOKEN")])
def test_404_says_what_to_check(
    request: pytest.FixtureRequest, cast: Cast, http: responses.RequestsMock, app: bool, named: str
) -> None:
    if app:
        request.getfixturevalue("as_app")
    http.post(WORKFLOW, json={"message": "Not Found"}, status=404)
    with pytest.raises(DispatchRefused, match=rf"Not Found\..*{REPO}.*{named}.*cast\.yml"):
        WorkflowDispatch().start(cast, before=LATER)


@pytest.mark.parametrize("bad", ["GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "GITHUB_APP_INSTALLATION_ID"])
def test_without_credentials_a_cast_waits_and_says_which_setting_to_correct(
    cast: Cast, settings: Any, bad: str, http: responses.RequestsMock
) -> None:
    settings.GITHUB_TOKEN, settings.GITHUB_APP_ID = "", "1"
    setattr(settings, bad, None if bad.endswith("INSTALLATION_ID") else "")
    api.github.cache_clear()
    with pytest.raises(NotNow, match=bad) as caught:
        WorkflowDispatch().start(cast, before=LATER)
    assert caught.value.reason == "github_not_configured"


def test_token_that_lacks_a_permission_refuses_the_dispatch(
    as_app: Any, cast: Cast, http: responses.RequestsMock
) -> None:
    http.replace("POST", f"{API}/app/installations/1/access_tokens", json=SAID, status=422)
    with pytest.raises(DispatchRefused, match="as GitHub says"):
        WorkflowDispatch().start(cast, before=LATER)


def test_key_that_github_does_not_take_is_the_operators_to_fix_so_the_cast_waits(
    as_app: Any, cast: Cast, http: responses.RequestsMock
) -> None:
    hour_ahead = (timezone.now() + dt.timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    http.replace(
        "POST", f"{API}/app/installations/1/access_tokens", json=SAID, status=401, headers={"Date": hour_ahead}
    )
    with pytest.raises(NotNow, match=r"as GitHub says.*clock is \d+ seconds behind GitHub's") as caught:
        WorkflowDispatch().start(cast, before=LATER)
    assert caught.value.reason == "github_not_configured"


def test_dispatch_that_comes_too_late_is_not_sent(as_app: Any, cast: Cast, http: responses.RequestsMock) -> None:
    with pytest.raises(NotNow):
        WorkflowDispatch().start(cast, before=timezone.now() - dt.timedelta(seconds=1))
    assert [call.request.url for call in http.calls] == [f"{API}/app/installations/1/access_tokens"]


def test_token_that_github_can_not_make_now_leaves_the_dispatch_unsent(
    as_app: Any, cast: Cast, http: responses.RequestsMock, naps: list[float]
) -> None:
    http.replace("POST", f"{API}/app/installations/1/access_tokens", status=502)
    with pytest.raises(NotNow):
        WorkflowDispatch().start(cast, before=LATER)


# --- finding ---------------------------------------------------------------------------------------------


def listed(cast: Cast, number: int = 7, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "display_title": f"greet {cast.run_tag}",
        "name": "Greet",
        "event": "workflow_dispatch",
        "status": "queued",
        "path": ".github/workflows/cast.yml@main",
        "html_url": f"https://github.com/demo/spells/actions/runs/{number}",
        "created_at": "2026-11-23T12:00:01Z",
    } | fields


def list_runs(
    http: responses.RequestsMock, *pages: list[dict[str, Any]], event: str = "workflow_dispatch", **more: str
) -> None:
    for number, page in enumerate(pages, start=1):
        query = {"event": event, "per_page": "100", "page": str(number), **more}
        body = {"total_count": sum(map(len, pages)), "workflow_runs": page}
        http.get(RUNS, json=body, match=[matchers.query_param_matcher(query)])


def test_run_is_found_by_the_token_in_its_title(cast: Cast, http: responses.RequestsMock) -> None:
    list_runs(http, [listed(cast, 9, display_title="another"), listed(cast, 7), listed(cast, 5, display_title="old")])
    seen = WorkflowDispatch().find(cast)
    assert seen is not None
    assert (seen.run_key, seen.run_scope) == ("7", cast.run_scope)
    assert cast.run_tag in seen.title


@pytest.mark.parametrize(
    "title",
    [
        "greet",
        "",
        None,
        "[cast:]",
        "{pk}",
        "cast:{pk}",
        "[cast:{pk}",
        "[cast:{pk}x]",
        "[cast:x{pk}]",
        "[cast:{short}]",
        "[CAST:{pk}]",
        "[cast: {pk}]",
    ],
)
def test_newest_run_without_the_exact_token_is_never_taken(
    cast: Cast, http: responses.RequestsMock, title: str | None
) -> None:
    shown = title and title.format(pk=cast.pk, short=str(cast.pk)[:-1])
    list_runs(http, [listed(cast, display_title=shown)])
    assert WorkflowDispatch().find(cast) is None


def test_token_in_the_name_alone_is_no_match(cast: Cast, http: responses.RequestsMock) -> None:
    list_runs(http, [listed(cast, display_title="greet", name=cast.run_tag)])
    assert WorkflowDispatch().find(cast) is None


def test_later_pages_are_read_until_the_runs_are_older_than_the_dispatch(
    cast: Cast, http: responses.RequestsMock
) -> None:
    full = [listed(cast, 1000 - n, display_title="another") for n in range(100)]
    old = [listed(cast, 500 - n, display_title="old", created_at="2026-11-23T11:57:00Z") for n in range(100)]
    list_runs(http, full, [listed(cast, 600), *full[:98], old[0]], old)
    seen = WorkflowDispatch().find(cast)
    assert seen is not None
    assert seen.run_key == "600"
    assert len(http.calls) == 2


WINDOW = "2026-11-23T11:58:00Z..2026-11-23T12:15:00Z"  # from before the dispatch until after any late start


def test_run_below_five_pages_of_newer_ones_is_looked_for_by_its_time(cast: Cast, http: responses.RequestsMock) -> None:
    full = [listed(cast, 1000 - n, display_title="another") for n in range(100)]
    list_runs(http, *[full] * 5)
    list_runs(http, full, [listed(cast, 7)], created=WINDOW)
    seen = WorkflowDispatch().find(cast)
    assert seen is not None
    assert seen.run_key == "7"
    assert len(http.calls) == 7


def test_run_of_a_dispatch_of_which_only_bounds_are_known_is_looked_for_between_them(
    cast: Cast, http: responses.RequestsMock
) -> None:
    """As after a restore from a backup: it was dispatched at some time since it was accepted."""
    assert cast.dispatch_started_at is not None
    cast.answer_lost_at = cast.dispatch_started_at + dt.timedelta(hours=5)
    full = [listed(cast, 1000 - n, display_title="another") for n in range(100)]
    list_runs(http, *[full] * 5)
    until = f"{cast.answer_lost_at + LATEST_START:%Y-%m-%dT%H:%M:%SZ}"
    list_runs(http, [], created=WINDOW.partition("..")[0] + ".." + until)
    assert WorkflowDispatch().find(cast) is None


def test_absence_is_not_claimed_of_a_list_that_has_no_end(cast: Cast, http: responses.RequestsMock) -> None:
    full = [listed(cast, 1000 - n, display_title="another") for n in range(100)]
    list_runs(http, *[full] * 5)
    list_runs(http, *[full] * 10, created=WINDOW)
    with pytest.raises(NotNow, match="more new runs than GitHub lists"):
        WorkflowDispatch().find(cast)
    assert len(http.calls) == 15


def test_clocks_may_differ_by_two_minutes(cast: Cast, http: responses.RequestsMock) -> None:
    list_runs(http, [listed(cast, created_at="2026-11-23T11:58:30Z")])
    assert WorkflowDispatch().find(cast) is not None


def test_of_several_runs_with_the_token_the_first_is_the_casts(cast: Cast, http: responses.RequestsMock) -> None:
    list_runs(http, [listed(cast, 9), listed(cast, 7), listed(cast, 8)])
    seen = WorkflowDispatch().find(cast)
    assert seen is not None
    assert seen.run_key == "7"


def test_run_listed_on_two_pages_is_one_run(cast: Cast, http: responses.RequestsMock) -> None:
    full = [listed(cast, 1000 - n, display_title="another") for n in range(99)]
    list_runs(http, [*full, listed(cast)], [listed(cast)])
    seen = WorkflowDispatch().find(cast)
    assert seen is not None
    assert seen.run_key == "7"


@pytest.mark.parametrize(
    ("file", "path", "found"),
    [
        ("cast.yml", ".github/workflows/cast.yml@main", True),
        ("cast.yml", ".github/workflows/cast.yml", True),
        ("cast.yml", "", False),
        ("cast.yml", ".github/workflows/other.yml@main", False),
        ("cast.yml", ".github/workflows/my-cast.yml@main", False),
        ("", ".github/workflows/other.yml@main", True),
    ],
)
def test_event_spell_that_names_a_file_takes_runs_of_that_file_only(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, file: str, path: str, found: bool
) -> None:
    cast = make_cast(spell={"runtime": "repository_dispatch", "event_type": "spell", "workflow_file": file})
    list_runs(http, [listed(cast, path=path, event="repository_dispatch")], event="repository_dispatch")
    assert (RepositoryDispatch().find(cast) is not None) == found


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500])
def test_search_that_github_does_not_answer_proves_nothing(
    cast: Cast, http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    http.get(RUNS, json=SAID, status=status)
    with pytest.raises(NotNow):
        WorkflowDispatch().find(cast)


# --- looking ---------------------------------------------------------------------------------------------


def test_run_and_its_jobs_are_seen_as_published(running: Cast, http: responses.RequestsMock) -> None:
    run = described("actions.get-workflow-run")["responses"]["200"]["examples"]["default"]
    jobs = described("actions.list-jobs-for-workflow-run")["responses"]["200"]["examples"]["default"]
    http.get(f"{RUNS}/7", json=run)
    http.get(f"{RUNS}/7/jobs", json=jobs)
    seen = WorkflowDispatch().observe(running, closely=True)
    assert (seen.run_key, seen.status) == (str(run["id"]), "queued")
    assert seen.jobs is not None
    assert [job.name for job in seen.jobs] == ["build"]


def test_jobs_of_every_attempt_are_asked_for_after_a_rerun(running: Cast, http: responses.RequestsMock) -> None:
    http.get(f"{RUNS}/7", json={"id": 7, "run_attempt": 2})
    asked = matchers.query_param_matcher({"filter": "all", "per_page": 100, "page": 1})
    http.get(f"{RUNS}/7/jobs", json={"total_count": 0, "jobs": []}, match=[asked])
    assert WorkflowDispatch().observe(running, closely=True).jobs == ()


@pytest.mark.parametrize("status", [404, 410])
def test_run_that_was_deleted_is_gone(running: Cast, http: responses.RequestsMock, status: int) -> None:
    http.get(f"{RUNS}/7", json=SAID, status=status)
    with pytest.raises(RunGone, match="as GitHub says"):
        WorkflowDispatch().observe(running, closely=True)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_run_that_can_not_be_asked_about_is_looked_at_later(
    running: Cast, http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    http.get(f"{RUNS}/7", json=SAID, status=status)
    with pytest.raises(NotNow, match="as GitHub says"):
        WorkflowDispatch().observe(running, closely=True)


# --- cancelling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("force", "path"), [(False, "cancel"), (True, "force-cancel")])
def test_cancel_is_a_request_that_github_takes(
    running: Cast, http: responses.RequestsMock, force: bool, path: str
) -> None:
    http.post(f"{RUNS}/7/{path}", json={}, status=202)
    WorkflowDispatch().cancel(running, force=force)
    assert len(http.calls) == 1


def test_run_that_has_ended_needs_no_cancelling(running: Cast, http: responses.RequestsMock) -> None:
    http.post(f"{RUNS}/7/cancel", json={"message": "Cannot cancel a workflow run that is completed."}, status=409)
    WorkflowDispatch().cancel(running, force=False)


def test_run_that_is_not_queued_yet_is_cancelled_soon(running: Cast, http: responses.RequestsMock) -> None:
    message = "Cannot cancel a workflow run that has not been queued yet."
    http.post(f"{RUNS}/7/cancel", json={"message": message}, status=409)
    with pytest.raises(NotNow, match="not been queued") as caught:
        WorkflowDispatch().cancel(running, force=False)
    assert caught.value.retry_at is not None
    assert 0 < (caught.value.retry_at - timezone.now()).total_seconds() <= 2


@pytest.mark.parametrize("status", [404, 410])
def test_cancel_of_a_run_that_is_gone_says_so(running: Cast, http: responses.RequestsMock, status: int) -> None:
    http.post(f"{RUNS}/7/cancel", json=SAID, status=status)
    with pytest.raises(RunGone):
        WorkflowDispatch().cancel(running, force=False)


@pytest.mark.parametrize("status", [403, 422, 500])
def test_cancel_that_github_does_not_take_is_asked_again(
    running: Cast, http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    http.post(f"{RUNS}/7/cancel", json=SAID, status=status)
    with pytest.raises(NotNow):
        WorkflowDispatch().cancel(running, force=False)


# --- why it failed ---------------------------------------------------------------------------------------


def job(number: int, conclusion: str | None, *steps: tuple[str, str | None], **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"job {number}",
        "status": "completed",
        "conclusion": conclusion,
        "run_attempt": 1,
        "attempt": 1,
        "started_at": None,
        "completed_at": None,
        "steps": [
            {"number": i, "name": n, "status": "completed", "conclusion": c, "started_at": None, "completed_at": None}
            for i, (n, c) in enumerate(steps, 1)
        ],
    } | fields


LOG = "2026-11-23T12:00:00.1Z compiling\n2026-11-23T12:00:01.1Z ##[error]it broke\n2026-11-23T12:00:02.1Z tidying up\n"


def annotated(http: responses.RequestsMock, number: int, *annotations: dict[str, Any], status: int = 200) -> None:
    body: Any = SAID if status >= 400 else list(annotations)
    http.get(f"{BASE}/check-runs/{number}/annotations", json=body, status=status)


def annotation(message: str, level: str = "failure", path: str = ".github", line: int = 7, title: str = "") -> Any:
    return {"path": path, "start_line": line, "annotation_level": level, "title": title, "message": message}


def log_of(http: responses.RequestsMock, number: int, text: str = LOG) -> None:
    annotated(http, number, status=403)
    blob = f"https://logs.example/{number}"
    http.get(f"{BASE}/actions/jobs/{number}/logs", status=302, headers={"Location": blob})
    http.get(blob, body=text)


CANCELLED = {"attempt": 1, "status": "completed", "conclusion": "cancelled", "run_started_at": None}


def failed(make_cast: Callable[..., Cast], *jobs: dict[str, Any], **fields: Any) -> Cast:
    return make_cast(
        **{"run_key": "7", "status": CastStatus.RUNNING, "jobs": list(jobs), "run_finished_at": timezone.now()} | fields
    )


def test_failed_job_step_and_the_end_of_the_log_are_told(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = failed(make_cast, job(1, "success"), job(2, "failure", ("build", "success"), ("test", "failure")))
    log_of(http, 2)
    told = WorkflowDispatch().failure(cast)
    said = (Annotation("it broke"),)
    assert told == Failure(job="job 2", step="test", log_tail=("compiling", "##[error]it broke"), annotations=said)


def test_job_that_failed_goes_before_those_cancelled_because_of_it(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = failed(make_cast, job(1, "cancelled", ("long", "cancelled")), job(2, "failure", ("test", "failure")))
    log_of(http, 2)
    assert WorkflowDispatch().failure(cast).job == "job 2"


def test_failed_job_that_no_webhook_told_of_is_asked_for(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    stale = job(2, None, ("test", None), status="in_progress")
    cast = failed(make_cast, stale)
    fresh = job(2, "failure", ("test", "failure"))
    http.get(f"{RUNS}/7/jobs", json={"total_count": 2, "jobs": [job(1, "success"), fresh]})
    log_of(http, 2)
    told = WorkflowDispatch().failure(cast)
    assert (told.job, told.step, told.log_tail[-1]) == ("job 2", "test", "##[error]it broke")


def test_cancelled_run_without_a_stopped_job_has_nothing_to_tell(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = failed(make_cast, job(1, "success"), observation=CANCELLED)
    assert WorkflowDispatch().failure(cast) == Failure()
    assert len(http.calls) == 0


ERA = {"started_at": "2026-11-23T12:00:00.000Z", "completed_at": "2026-11-23T12:01:10.000Z"}
OVER = "The job running on runner GitHub Actions 2 has exceeded the maximum execution time of 1 minutes."
STOPPED = "The operation was canceled."


def stopped(number: int = 2, **times: Any) -> dict[str, Any]:
    return job(number, "cancelled", ("Brew", "cancelled"), **ERA | times)


def test_job_that_reached_its_own_limit_is_known_by_its_annotation(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = failed(make_cast, stopped(1, completed_at="2026-11-23T12:00:40Z"), stopped(2), observation=CANCELLED)
    log_of(http, 2, "2026-11-23T12:00:00Z brewing\n2026-11-23T12:01:10Z ##[error]The operation was canceled.\n")
    http.replace("GET", f"{BASE}/check-runs/2/annotations", json=[annotation(OVER), annotation(STOPPED)])
    told = WorkflowDispatch().failure(cast)
    assert (told.timed_out, told.job, told.step) == (True, "job 2", "Brew")
    assert told.log_tail == ("brewing", "##[error]The operation was canceled.")
    assert [one.message for one in told.annotations] == [OVER]


@pytest.mark.parametrize(
    ("log", "times", "limited"),
    [
        (f"2026-11-23T12:01:10Z ##[error]{OVER}\n", {}, True),
        (f"2026-11-23T12:01:10Z ##[error]{STOPPED}\n", {}, False),
        (f"2026-11-23T12:01:10Z ##[error]{STOPPED}\n", {"completed_at": "2026-11-23T18:00:12Z"}, True),
        (f"2026-11-23T12:01:10Z ##[error]{STOPPED}\n", {"completed_at": "2026-11-23T17:59:12Z"}, False),
    ],
    ids=["its log says so", "somebody stopped it", "it ran for the six hours that are the limit", "a little less"],
)
def test_without_annotations_the_log_or_the_time_tells_that_a_job_reached_its_limit(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, log: str, times: dict[str, Any], limited: bool
) -> None:
    cast = failed(make_cast, stopped(**times), observation=CANCELLED)
    log_of(http, 2, log)
    assert WorkflowDispatch().failure(cast).timed_out is limited


def test_what_an_author_said_before_a_run_was_cancelled_is_not_why_it_was(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = failed(make_cast, stopped(), observation=CANCELLED)
    annotated(http, 2, annotation("a loose cobblestone"), annotation(STOPPED))
    assert WorkflowDispatch().failure(cast) == Failure()


def test_github_says_why_it_cancelled_a_job_that_waited(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    why = "Canceling since a higher priority waiting request for 'spells' exists"
    cast = failed(make_cast, job(2, "cancelled"), observation=CANCELLED)
    annotated(http, 2, annotation(why))
    assert WorkflowDispatch().failure(cast) == Failure(job="job 2", annotations=(Annotation(why),))


def test_job_that_never_began_has_a_reason_and_no_log_is_waited_for(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    why = "The job was not started because your spending limit needs to be increased."
    annotated(http, 2, annotation(why))
    told = WorkflowDispatch().failure(failed(make_cast, job(2, "failure")))
    assert told == Failure(job="job 2", annotations=(Annotation(why),))
    assert len(http.calls) == 1


@pytest.mark.parametrize("status", [403, 404, 422])
def test_annotations_that_we_may_not_see_keep_nothing_back(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, status: int
) -> None:
    annotated(http, 2, status=status)
    assert WorkflowDispatch().failure(failed(make_cast, job(2, "failure"))) == Failure(job="job 2")


@pytest.mark.parametrize("status", [401, 429, 500])
def test_annotations_that_can_not_be_read_now_are_asked_for_again(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    annotated(http, 2, status=status)
    with pytest.raises(NotNow):
        WorkflowDispatch().failure(failed(make_cast, job(2, "failure")))


def test_app_without_the_permission_for_annotations_falls_back_on_the_log(
    settings: Any, make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    settings.GITHUB_APP_ID = "1"

    def mint(request: Any) -> tuple[int, dict[str, str], str]:
        if b"checks" in request.body:
            return 422, {}, '{"message": "The permissions requested are not granted to this installation."}'
        return 201, {}, '{"token": "ghs_1", "expires_at": "2100-01-01T00:00:00Z"}'

    http.add_callback("POST", f"{API}/app/installations/1/access_tokens", callback=mint)
    log_of(http, 2)
    told = WorkflowDispatch().failure(failed(make_cast, job(2, "failure", ("test", "failure"))))
    assert told.annotations == (Annotation("it broke"),)


TWO_STEPS = """2026-11-23T12:00:00.1Z ##[group]Run ./lint
2026-11-23T12:00:01.1Z ##[error]not so nice
2026-11-23T12:00:05.1Z ##[group]Run ./brew
2026-11-23T12:00:06.1Z ##[error]a loose cobblestone
2026-11-23T12:00:06.2Z ##[error]Process completed with exit code 1.
"""


def test_authors_own_sentence_of_the_failed_step_is_told(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    one = job(2, "failure", ("Lint", "success"), ("Brew", "failure"))
    for step, second in zip(one["steps"], ("01", "06"), strict=True):
        step |= dict.fromkeys(("started_at", "completed_at"), f"2026-11-23T12:00:{second}.000Z")
    log_of(http, 2, TWO_STEPS)
    named = annotation("a loose cobblestone\nin the third row", path="src/path.py", line=3, title="Stones")
    code = annotation("Process completed with exit code 1.")
    said = [annotation("not so nice"), annotation("old", "warning"), named, code]
    http.replace("GET", f"{BASE}/check-runs/2/annotations", json=said)
    told = WorkflowDispatch().failure(failed(make_cast, one))
    mine = Annotation("a loose cobblestone\nin the third row", "error", "Stones", "src/path.py", 3)
    assert (told.step, told.annotations) == ("Brew", (mine,))


def test_run_without_any_job_has_nothing_to_tell(make_cast: Callable[..., Cast], http: responses.RequestsMock) -> None:
    http.get(f"{RUNS}/7/jobs", json={"total_count": 0, "jobs": []})
    assert WorkflowDispatch().failure(failed(make_cast)) == Failure()


@pytest.mark.parametrize("status", [404, 410])
def test_log_that_is_not_there_yet_is_waited_for_a_little(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, status: int
) -> None:
    annotated(http, 2)
    http.get(f"{BASE}/actions/jobs/2/logs", json=SAID, status=status)
    lately = timezone.now() - dt.timedelta(seconds=5)
    with pytest.raises(NotNow):
        WorkflowDispatch().failure(failed(make_cast, job(2, "failure", ("test", "failure")), run_finished_at=lately))


@pytest.mark.parametrize("status", [404, 410])
def test_log_that_never_comes_does_not_keep_the_rest_back(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, status: int
) -> None:
    annotated(http, 2)
    http.get(f"{BASE}/actions/jobs/2/logs", json=SAID, status=status)
    long_ago = timezone.now() - dt.timedelta(seconds=25)
    cast = failed(make_cast, job(2, "failure", ("test", "failure")), run_finished_at=long_ago)
    assert WorkflowDispatch().failure(cast) == Failure(job="job 2", step="test")


@pytest.mark.parametrize("status", [403, 500])
def test_log_that_can_not_be_read_now_is_tried_again(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    annotated(http, 2)
    http.get(f"{BASE}/actions/jobs/2/logs", json=SAID, status=status)
    long_ago = timezone.now() - dt.timedelta(seconds=25)
    with pytest.raises(NotNow):
        WorkflowDispatch().failure(failed(make_cast, job(2, "failure", ("a", "failure")), run_finished_at=long_ago))


def test_log_with_bytes_that_no_database_keeps_still_ends_the_cast(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = failed(
        make_cast,
        job(2, "failure", ("test", "failure")),
        observation={"attempt": 1, "status": "completed", "conclusion": "failure"},
        started_at=timezone.now(),
    )
    http.get(f"{RUNS}/7/artifacts", json={"total_count": 0, "artifacts": []})
    log_of(http, 2, "##[error]core \x00dumped \ufffd\n")
    cast = step(cast)
    assert (cast.status, cast.status_reason) == (CastStatus.FAILED, "run_failed")
    assert cast.error is not None
    assert cast.error["log_tail"] == ["##[error]core dumped \ufffd"]
    assert (cast.error["failed_job"], cast.error["failed_step"]) == ("job 2", "test")


# --- artifacts -------------------------------------------------------------------------------------------


def artifact(number: int, name: str, made: str | None = "2026-11-23T12:01:00Z", **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "size_in_bytes": 3,
        "digest": None,
        "expired": False,
        "created_at": made,
    } | fields


def list_artifacts(http: responses.RequestsMock, *found: dict[str, Any]) -> None:
    http.get(f"{RUNS}/7/artifacts", json={"total_count": len(found), "artifacts": list(found)})


def attempt(number: int, began: str | None) -> dict[str, Any]:
    return {"attempt": number, "status": "completed", "conclusion": "success", "run_started_at": began}


def test_artifacts_of_earlier_attempts_are_left_out(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = make_cast(run_key="7", run_attempt=2, observation=attempt(2, "2026-11-23T12:00:30.000Z"))
    list_artifacts(
        http,
        artifact(1, "out", "2026-11-23T12:00:20Z"),
        artifact(2, "only-then", "2026-11-23T12:00:29Z"),
        artifact(3, "out", "2026-11-23T12:00:30Z"),
        artifact(4, "more", "2026-11-23T12:05:00Z"),
        artifact(5, "undated", None),
    )
    found = WorkflowDispatch().artifacts(cast)
    assert [(a.id, a.name) for a in found] == [(3, "out"), (4, "more"), (5, "undated")]


@pytest.mark.parametrize(
    "kept",
    [
        job(1, "success", ("a", "success"), attempt=1),
        job(3, "success", ("a", "success"), attempt=2, completed_at="2026-11-23T12:00:25.000Z"),
    ],
    ids=["listed with its attempt", "listed anew with its old times"],
)
def test_rerun_of_failed_jobs_keeps_the_newest_artifact_of_each_name(
    make_cast: Callable[..., Cast], http: responses.RequestsMock, kept: dict[str, Any]
) -> None:
    again = job(4, "success", ("a", "success"), attempt=2, completed_at="2026-11-23T12:05:00.000Z")
    seen = attempt(2, "2026-11-23T12:00:30.000Z")
    cast = make_cast(run_key="7", run_attempt=2, observation=seen, jobs=[kept, again])
    early = "2026-11-23T12:00:20Z"
    list_artifacts(http, artifact(1, "spell-result", early), artifact(2, "log", early), artifact(3, "log"))
    assert [(a.id, a.name) for a in WorkflowDispatch().artifacts(cast)] == [(1, "spell-result"), (3, "log")]


def test_rerun_of_every_job_keeps_nothing_of_an_earlier_attempt(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    again = job(4, "success", ("a", "success"), attempt=2, completed_at="2026-11-23T12:05:00.000Z")
    cast = make_cast(run_key="7", run_attempt=2, observation=attempt(2, "2026-11-23T12:00:30.000Z"), jobs=[again])
    list_artifacts(http, artifact(1, "spell-result", "2026-11-23T12:00:20Z"))
    assert WorkflowDispatch().artifacts(cast) == []


def test_first_attempt_loses_nothing_to_clocks_that_differ(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = make_cast(run_key="7", run_attempt=1, observation=attempt(1, "2026-11-23T12:00:49.000Z"))
    list_artifacts(http, artifact(1, "out", "2026-11-23T12:00:48Z"))
    assert [a.name for a in WorkflowDispatch().artifacts(cast)] == ["out"]


def test_of_one_name_the_newest_upload_counts(running: Cast, http: responses.RequestsMock) -> None:
    list_artifacts(http, artifact(9, "out", digest="sha256:new"), artifact(8, "out", digest="sha256:old"))
    (found,) = WorkflowDispatch().artifacts(running)
    assert (found.id, found.digest) == (9, "sha256:new")


def test_artifact_is_downloaded_from_the_storage(running: Cast, http: responses.RequestsMock) -> None:
    kept = Artifact.objects.create(cast=running, name="out", remote_id=9)
    http.get(f"{BASE}/actions/artifacts/9/zip", status=302, headers={"Location": "https://blobs.example/9"})
    http.get("https://blobs.example/9", body=b"PK...", content_type="application/zip")
    download = WorkflowDispatch().download(kept)
    assert (b"".join(download.chunks), download.content_type) == (b"PK...", "application/zip")


@pytest.mark.parametrize("status", [404, 410])
def test_artifact_that_github_no_longer_has_is_gone(running: Cast, http: responses.RequestsMock, status: int) -> None:
    http.get(f"{BASE}/actions/artifacts/9/zip", json=SAID, status=status)
    with pytest.raises(ArtifactGone, match="as GitHub says"):
        WorkflowDispatch().download(Artifact.objects.create(cast=running, name="out", remote_id=9))


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_artifact_that_can_not_be_had_now_is_tried_again(
    running: Cast, http: responses.RequestsMock, naps: list[float], status: int
) -> None:
    http.get(f"{BASE}/actions/artifacts/9/zip", json=SAID, status=status)
    with pytest.raises(NotNow):
        WorkflowDispatch().download(Artifact.objects.create(cast=running, name="out", remote_id=9))


def test_download_that_breaks_off_while_being_read_is_tried_again(running: Cast, http: responses.RequestsMock) -> None:
    http.get(f"{BASE}/actions/artifacts/9/zip", status=302, headers={"Location": "https://blobs.example/9"})
    http.get(
        "https://blobs.example/9", body=b"short", headers={"Content-Length": "500"}, auto_calculate_content_length=False
    )
    download = WorkflowDispatch().download(Artifact.objects.create(cast=running, name="out", remote_id=9))
    with pytest.raises(NotNow, match="broke off"):
        list(download.chunks)


# --- a whole step ----------------------------------------------------------------------------------------


def test_lost_answer_is_cleared_up_by_looking_and_nothing_is_sent_twice(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    cast = make_cast(dispatch_started_at=None)
    http.post(WORKFLOW, body=requests.ReadTimeout("silence"))
    cast = step(cast)
    assert (cast.status, cast.status_reason, cast.run_key) == ("queued", "confirming_dispatch", None)
    list_runs(http, [listed(cast, created_at=timezone.now().isoformat())])
    cast = step(cast)
    assert cast.run_key == "7"
    assert cast.spell.tags_runs
    assert [call.request.method for call in http.calls] == ["POST", "GET"]


def test_refused_dispatch_ends_the_cast_with_githubs_message(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    http.post(WORKFLOW, json={"message": "No ref found for: main"}, status=422)
    cast = step(make_cast(dispatch_started_at=None))
    assert (cast.status, cast.status_reason) == ("failed", "dispatch_refused")
    assert "No ref found for: main" in cast.message


def test_rate_limited_cast_stays_queued_says_so_and_goes_out_later(
    make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    http.post(WORKFLOW, json=SAID, status=429, headers={"Retry-After": "30"})
    http.post(WORKFLOW, json={"workflow_run_id": 7})
    cast = step(make_cast(dispatch_started_at=None))
    assert (cast.status, cast.status_reason, cast.dispatch_started_at) == ("queued", "rate_limited", None)
    assert cast.due_at is not None
    assert 25 < (cast.due_at - timezone.now()).total_seconds() <= 30
    Installation.objects.update(paused_until=timezone.now())
    assert step(cast).run_key == "7"
