"""Runs without a tag on servers that don't name them: one cast of a workflow at a time, and never a guess."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses
from django.utils import timezone

from casts.execution import steps
from casts.models import Cast, CastStatus
from casts.runtime import NotNow
from github_integration import api, exclusive, identity
from github_integration.models import ExclusiveStart, Installation, RecentRuns
from github_integration.runtime import WorkflowDispatch

from .conftest import mint_into
from .doubles import API, REPO

pytestmark = pytest.mark.django_db
RUNS = f"{API}/repos/{REPO}/actions/runs"
ALONE = {"repository": REPO, "workflow_file": "deploy.yml", "matching": "exclusive", "input_mapping": "native"}
US = "spells[bot]"


@pytest.fixture(autouse=True)
def _app(settings: Any, http: responses.RequestsMock, naps: list[float]) -> Iterator[None]:
    settings.GITHUB_API_URL, settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = API, "1", ""
    settings.GITHUB_APP_INSTALLATION_ID = 1
    api.github.cache_clear()
    mint_into(http)
    http.get(f"{API}/app", json={"slug": "spells"})
    identity._ask_at.clear()
    Installation.objects.create(pk=1, actor_login=US)
    yield
    identity._ask_at.clear()
    api.github.cache_clear()


def ago(seconds: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(seconds=seconds)


def run(number: int, *, actor: str = US, seconds: float = 20, title: str = "Deploy", file: str = "deploy.yml") -> Any:
    return {
        "id": number,
        "status": "queued",
        "event": "workflow_dispatch",
        "created_at": ago(seconds).isoformat(),
        "display_title": title,
        "path": f".github/workflows/{file}",
        "actor": {"login": actor},
    }


@pytest.fixture
def listed(http: responses.RequestsMock) -> Callable[..., None]:
    def put(*runs: dict[str, Any]) -> None:
        RecentRuns.objects.all().delete()
        http.upsert("GET", RUNS, json={"total_count": len(runs), "workflow_runs": runs})

    return put


@pytest.fixture
def alone(make_cast: Callable[..., Cast]) -> Callable[..., Cast]:
    """Make a cast of an exclusive spell whose dispatch began half a minute ago and was answered without a run."""

    def make(spell: dict[str, Any] | None = None, **fields: Any) -> Cast:
        given = {"dispatch_started_at": ago(30), "dispatched_at": ago(30), "dispatch_attempts": 1} | fields
        return make_cast(spell=ALONE | (spell or {}), **given)

    return make


def found(cast: Cast) -> str | None:
    seen = WorkflowDispatch().find(cast)
    return None if seen is None else seen.run_key


def test_the_only_new_run_of_our_bot_is_the_casts(alone: Any, listed: Any) -> None:
    cast = alone()
    listed(run(7, actor="somebody"), run(6), run(5, seconds=600), run(4, file="other.yml"))
    assert found(cast) == "6"
    assert steps.found_run(cast)
    assert Cast.objects.get(pk=cast.pk).run_key == "6"


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param([], id="none"),
        pytest.param([run(6), run(7)], id="two of ours"),
        pytest.param([run(6, actor="somebody")], id="a person's"),
        pytest.param([run(6, actor="")], id="nobody says whose"),
        pytest.param([run(6, title="[cast:01890000-0000-7000-8000-000000000000]")], id="with another's tag"),
        pytest.param([run(6, file="")], id="of a workflow that isn't told"),
    ],
)
def test_whatever_else_there_is_is_nobodys(alone: Any, listed: Any, runs: list[Any]) -> None:
    listed(*runs)
    cast = alone()
    assert found(cast) is None
    assert not steps.found_run(cast)


def test_a_run_from_before_the_last_dispatch_is_nobodys(alone: Any, listed: Any) -> None:
    listed(run(5, seconds=600))
    assert found(alone(dispatch_attempts=2, created_at=ago(1200))) is None


def test_a_second_run_is_waited_for_before_the_first_is_taken(alone: Any, listed: Any, settings: Any) -> None:
    settings.CAST_EXCLUSIVE_SECONDS = 60
    listed(run(6))
    with pytest.raises(NotNow) as caught:
        found(alone())
    assert caught.value.retry_at is not None
    assert caught.value.retry_at > timezone.now() + dt.timedelta(seconds=20)


def test_a_run_that_another_cast_has_does_not_count(alone: Any, listed: Any) -> None:
    alone(run_key="6", dispatch_started_at=ago(40))
    listed(run(6, seconds=35), run(7))
    assert found(alone()) == "7"


@pytest.mark.parametrize("matching", ["exclusive", "answer_or_tag"])
def test_another_cast_of_the_workflow_whose_run_is_not_known_is_a_reason_not_to_decide(
    alone: Any, listed: Any, matching: str
) -> None:
    other = alone({"matching": matching}, dispatch_started_at=ago(60))
    cast = alone()
    listed(run(6))
    with pytest.raises(NotNow, match="Another cast's run"):
        found(cast)
    given_up = {"status": CastStatus.FAILED, "status_reason": "dispatch_lost", "finished_at": timezone.now()}
    Cast.objects.filter(pk=other.pk).update(**given_up)
    assert found(cast) is None  # it may be the other's, that came late
    Cast.objects.filter(pk=other.pk).update(status_reason="dispatch_refused")
    assert found(cast) == "6"


def test_with_a_personal_token_nothing_tells_its_users_runs_from_ours(
    alone: Any, listed: Any, settings: Any, http: responses.RequestsMock
) -> None:
    settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = "", "github_pat_mine"
    api.github.cache_clear()
    http.get(f"{API}/user", json={"login": US})
    Installation.objects.create(pk=0, actor_login=US)
    listed(run(6))
    assert found(alone()) is None


def test_while_one_is_started_no_other_is(alone: Any) -> None:
    event = "workflow_dispatch"
    first, second = alone(), alone()
    Cast.objects.filter(pk=second.pk).update(dispatch_started_at=None)
    second.refresh_from_db(fields=["dispatch_started_at"])
    exclusive.take(first, event)
    exclusive.take(first, event)  # again, after its worker died
    with pytest.raises(NotNow) as caught:
        exclusive.require_free(second, event)
    assert caught.value.reason == "waiting_for_turn"
    with pytest.raises(NotNow):
        exclusive.take(second, event)
    Cast.objects.filter(pk=first.pk).update(run_key="1")
    exclusive.require_free(second, event)
    exclusive.take(second, event)
    assert ExclusiveStart.objects.get().cast_id == second.pk


def test_after_a_lost_one_the_next_waits_until_its_run_can_no_longer_come(alone: Any) -> None:
    event = "workflow_dispatch"
    lost, following = alone(), alone()
    exclusive.take(lost, event)
    given_up = {"status": CastStatus.FAILED, "status_reason": "dispatch_lost", "finished_at": timezone.now()}
    Cast.objects.filter(pk=lost.pk).update(**given_up)
    with pytest.raises(NotNow) as caught:
        exclusive.take(following, event)
    assert caught.value.retry_at is not None
    assert caught.value.retry_at > timezone.now() + dt.timedelta(minutes=14)
    # Its run may come after a quarter of an hour, and be taken for one that was made two minutes later.
    Cast.objects.filter(pk=lost.pk).update(dispatch_started_at=ago(16 * 60))
    for refuses in (exclusive.take, exclusive.require_free):
        with pytest.raises(NotNow):
            refuses(following, event)
    Cast.objects.filter(pk=lost.pk).update(dispatch_started_at=ago(17 * 60 + 1))
    exclusive.require_free(following, event)
    exclusive.take(following, event)


def test_when_its_run_is_known_the_next_in_line_is_tried(alone: Any) -> None:
    cast = alone(run_key="6")
    waiting = alone(dispatch_started_at=None, status_reason="waiting_for_turn", due_at=None)
    Cast.objects.filter(pk=waiting.pk).update(spell=cast.spell_id)
    exclusive.pass_on(cast)
    assert Cast.objects.get(pk=waiting.pk).due_at is not None
