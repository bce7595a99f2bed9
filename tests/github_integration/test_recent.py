"""One list of recent runs for all casts of a repository, in whatever process."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses
from django.utils import timezone

from casts.lifecycle import observing
from casts.models import Cast
from casts.runtime import NotNow, RunGone
from github_integration import api, identity, recent, wire
from github_integration.models import Installation, RecentRuns
from github_integration.runtime import WorkflowDispatch

from .conftest import mint_into
from .doubles import API, REPO, described

RUNS = f"{API}/repos/{REPO}/actions/runs"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _app(settings: Any, http: responses.RequestsMock, naps: list[float]) -> Iterator[None]:
    settings.GITHUB_API_URL, settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = API, "1", ""
    settings.GITHUB_POINTS_PER_MINUTE = 900
    api.github.cache_clear()
    mint_into(http)
    http.get(f"{API}/app", json={"slug": "spells"})
    identity._ask_at.clear()
    yield
    identity._ask_at.clear()
    api.github.cache_clear()


def line(number: int, **fields: Any) -> dict[str, Any]:
    now = timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": number, "status": "queued", "event": "workflow_dispatch", "created_at": now} | fields


def listing(http: responses.RequestsMock, *runs: dict[str, Any], **answer: Any) -> Any:
    return http.get(RUNS, json={"total_count": len(runs), "workflow_runs": runs}, **answer)


def grow_old() -> None:
    RecentRuns.objects.update(listed_at=timezone.now() - 2 * recent.FRESH)


@pytest.fixture
def many(make_cast: Callable[..., Cast]) -> list[Cast]:
    """Ten casts that know their runs, 1 to 10."""
    now = timezone.now()
    return [make_cast(run_key=str(number), dispatch_started_at=now) for number in range(1, 11)]


def test_ten_casts_that_look_ask_once_and_another_process_does_not_ask_again(
    many: list[Cast], http: responses.RequestsMock
) -> None:
    asked = listing(http, *(line(number, status="queued") for number in range(1, 11)))
    told = [WorkflowDispatch().observe(cast, closely=False) for cast in many[:5]]
    api.github.cache_clear()  # another process
    told += [WorkflowDispatch().observe(cast, closely=False) for cast in many[5:]]
    assert [int(seen.run_key) for seen in told] == list(range(1, 11))
    assert asked.call_count == 1
    grow_old()
    WorkflowDispatch().observe(many[0], closely=False)
    assert asked.call_count == 2


def test_unchanged_list_is_asked_for_conditionally(many: list[Cast], http: responses.RequestsMock) -> None:
    listing(http, line(1), headers={"ETag": '"one"'})
    WorkflowDispatch().observe(many[0], closely=False)
    http.replace("GET", RUNS, status=304)
    grow_old()
    assert WorkflowDispatch().observe(many[0], closely=False).run_key == "1"
    assert http.calls[-1].request.headers["If-None-Match"] == '"one"'


def test_whoever_asks_first_asks_for_all(many: list[Cast], http: responses.RequestsMock) -> None:
    """While one asks, another comes back in a moment, and is told nothing."""
    asked = []

    def meanwhile(request: Any) -> tuple[int, dict[str, str], str]:
        with pytest.raises(NotNow) as caught:
            WorkflowDispatch().observe(many[1], closely=False)
        asked.append(caught.value)
        return 200, {}, '{"total_count": 0, "workflow_runs": []}'

    http.add_callback("GET", RUNS, callback=meanwhile)
    http.get(f"{RUNS}/1", json={"id": 1})
    http.get(f"{RUNS}/1/jobs", json={"total_count": 0, "jobs": []})
    WorkflowDispatch().observe(many[0], closely=False)
    assert len(asked) == 1
    assert asked[0].reason == ""
    assert asked[0].retry_at is not None
    assert asked[0].retry_at <= timezone.now() + recent.RETRY_SOON


def test_who_asked_and_failed_is_in_nobodys_way(many: list[Cast], http: responses.RequestsMock) -> None:
    http.get(RUNS, status=500)
    with pytest.raises(NotNow, match="500"):
        WorkflowDispatch().observe(many[0], closely=False)
    http.replace("GET", RUNS, json={"total_count": 1, "workflow_runs": [line(2)]})
    assert WorkflowDispatch().observe(many[1], closely=False).run_key == "2"


def test_who_asked_and_died_is_waited_for_some_seconds_at_most(many: list[Cast], http: responses.RequestsMock) -> None:
    listing(http, line(1))
    now = timezone.now()
    place = {"installation": 1, "repository": REPO, "event": "workflow_dispatch"}
    RecentRuns.objects.create(**place, asking_until=now + recent.ASKING)
    with pytest.raises(NotNow):
        WorkflowDispatch().observe(many[0], closely=False)
    RecentRuns.objects.update(asking_until=now)
    assert WorkflowDispatch().observe(many[0], closely=False).run_key == "1"


def test_list_of_one_who_was_slow_is_not_put_over_a_newer_one(many: list[Cast], http: responses.RequestsMock) -> None:
    def slow(request: Any) -> tuple[int, dict[str, str], str]:
        RecentRuns.objects.update(runs=[line(1)], listed_at=timezone.now() + dt.timedelta(seconds=1))
        return 200, {}, '{"total_count": 0, "workflow_runs": []}'

    http.add_callback("GET", RUNS, callback=slow)
    http.get(f"{RUNS}/1", json={"id": 1})
    http.get(f"{RUNS}/1/jobs", json={"total_count": 0, "jobs": []})
    WorkflowDispatch().observe(many[0], closely=False)
    assert [run["id"] for run in RecentRuns.objects.get().runs] == [1]


def test_casts_whose_runs_have_ended_are_looked_at_now(many: list[Cast], http: responses.RequestsMock) -> None:
    Cast.objects.update(due_at=None)
    Cast.objects.filter(run_key="3").update(run_finished_at=timezone.now())
    ended = {"status": "completed", "conclusion": "success"}
    listing(http, line(1), line(2, **ended), line(3, **ended), line(77, **ended))
    WorkflowDispatch().observe(many[0], closely=False)
    assert set(Cast.objects.filter(due_at__isnull=False).values_list("run_key", flat=True)) == {"2"}


def test_run_that_is_not_among_the_newest_is_asked_for_alone(many: list[Cast], http: responses.RequestsMock) -> None:
    listing(http, line(99))
    http.get(f"{RUNS}/1", json=line(1, status="completed", conclusion="success"))
    http.get(f"{RUNS}/1/jobs", json={"total_count": 0, "jobs": []})
    assert WorkflowDispatch().observe(many[0], closely=False).status == "completed"
    http.get(f"{RUNS}/2", json={"message": "Not Found"}, status=404)
    with pytest.raises(RunGone):
        WorkflowDispatch().observe(many[1], closely=False)


def test_jobs_are_asked_for_when_a_run_has_begun_and_none_is_known_to_have(
    many: list[Cast], http: responses.RequestsMock
) -> None:
    listing(http, line(1, status="in_progress"))
    begun = {"id": 5, "status": "in_progress", "runner_name": "runner 1"}
    jobs = http.get(f"{RUNS}/1/jobs", json={"total_count": 1, "jobs": [begun]})
    seen = WorkflowDispatch().observe(many[0], closely=False)
    assert [job.id for job in seen.jobs or ()] == [5]
    observing.observe(many[0].pk, seen)
    many[0].refresh_from_db()
    assert WorkflowDispatch().observe(many[0], closely=False).jobs is None  # by webhook, or while somebody follows
    assert jobs.call_count == 1


def test_close_look_asks_for_the_run_itself(many: list[Cast], http: responses.RequestsMock) -> None:
    http.get(f"{RUNS}/1", json=line(1))
    http.get(f"{RUNS}/1/jobs", json={"total_count": 0, "jobs": []})
    assert WorkflowDispatch().observe(many[0], closely=True).jobs == ()


def test_list_from_before_the_dispatch_proves_nothing(make_cast: Callable[..., Cast], http: Any) -> None:
    asked = listing(http)
    now = timezone.now()
    assert WorkflowDispatch().find(make_cast(dispatch_started_at=now)) is None
    assert WorkflowDispatch().find(make_cast(dispatch_started_at=now)) is None
    assert asked.call_count == 1
    assert WorkflowDispatch().find(make_cast(dispatch_started_at=timezone.now())) is None
    assert asked.call_count == 2


def test_looks_are_put_off_when_requests_must_be_spared_and_ends_are_not(
    many: list[Cast], http: responses.RequestsMock
) -> None:
    reset_at = timezone.now() + dt.timedelta(minutes=30)
    Installation.objects.create(
        pk=1, rate_limit=5000, rate_remaining=1000, rate_reset_at=reset_at, looks_booked_until=reset_at
    )
    for closely in (True, False):
        with pytest.raises(NotNow) as caught:
            WorkflowDispatch().observe(many[0], closely=closely)
        assert caught.value.reason == ""
    assert not any("/runs" in (call.request.url or "") for call in http.calls)
    many[0].run_finished_at = timezone.now()
    http.get(f"{RUNS}/1", json=line(1))
    http.get(f"{RUNS}/1/jobs", json={"total_count": 0, "jobs": []})
    WorkflowDispatch().observe(many[0], closely=True)


@pytest.mark.parametrize("trigger", ["workflow_dispatch", "repository_dispatch", "push"])
def test_run_that_is_kept_in_the_list_loses_nothing(trigger: str) -> None:
    example = described("actions.get-workflow-run")["responses"]["200"]["examples"]["default"]
    for run in (example, {"id": 7}, example | {"display_title": "x [cast:1]", "created_at": "2026-11-23T12:00:01.5Z"}):
        seen = wire.run_seen(REPO, run | {"event": trigger})
        assert wire.run_seen(REPO, json.loads(json.dumps(recent.row_of(seen)))) == seen


def test_odd_lines_of_a_list_are_read_tolerantly(many: list[Cast], http: responses.RequestsMock) -> None:
    odd = line(1, display_title="\u0000 \ud800", actor="somebody", path=None, conclusion=None)
    listing(http, odd)
    seen = WorkflowDispatch().observe(many[0], closely=False)
    assert (seen.title, seen.actor, seen.workflow) == (" ?", "", "")
