"""Who starts our runs, and which runs can therefore be ours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses
from django.utils import timezone

from casts.models import Cast
from casts.runtime import NotNow, Observation
from github_integration import api, identity
from github_integration.models import Installation
from github_integration.runtime import RepositoryDispatch, WorkflowDispatch

from .conftest import STARTED, mint_into
from .doubles import API

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _app(settings: Any, http: responses.RequestsMock, naps: list[float]) -> Iterator[None]:
    settings.GITHUB_API_URL, settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = API, "1", ""
    api.github.cache_clear()
    identity._ask_at.clear()
    mint_into(http)
    yield
    api.github.cache_clear()
    identity._ask_at.clear()


def known(number: int = 1) -> str:
    return Installation.objects.get(pk=number).actor_login


def test_app_is_known_by_its_bot_and_asked_for_once(cast: Cast, http: responses.RequestsMock) -> None:
    asked = http.get(f"{API}/app", json={"slug": "spells"})
    for _ in range(3):
        WorkflowDispatch().book(cast)
    assert (known(), asked.call_count) == ("spells[bot]", 1)


def test_personal_token_is_known_by_its_user(cast: Cast, http: responses.RequestsMock, settings: Any) -> None:
    settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = "", "ghp_x"
    api.github.cache_clear()
    http.get(f"{API}/user", json={"login": "octocat"})
    WorkflowDispatch().book(cast)
    assert known(0) == "octocat"


def test_an_answer_without_a_name_tells_nothing(cast: Cast, http: responses.RequestsMock) -> None:
    http.get(f"{API}/app", json={"id": 1})
    WorkflowDispatch().book(cast)
    assert known() == ""


def test_new_name_replaces_the_old_one_and_trouble_keeps_it(cast: Cast, http: responses.RequestsMock) -> None:
    first = http.get(f"{API}/app", json={"slug": "spells"})
    WorkflowDispatch().book(cast)
    http.remove(first)
    http.get(f"{API}/app", json={"slug": "renamed"})
    identity._ask_at.clear()  # an hour later
    WorkflowDispatch().book(cast)
    assert known() == "renamed[bot]"
    http.replace("GET", f"{API}/app", status=500)
    identity._ask_at.clear()
    WorkflowDispatch().book(cast)
    assert known() == "renamed[bot]"


def seen(cast: Cast, **fields: Any) -> Observation:
    told: dict[str, Any] = {"trigger": "workflow_dispatch", "workflow": "cast.yml", "actor": "spells[bot]"}
    told |= {"title": cast.run_tag, "made_at": STARTED + dt.timedelta(seconds=1)}
    return Observation(cast.run_scope, "5", **{"status": "queued"} | told | fields)


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({}, True),
        ({"actor": "Spells[bot]"}, True),
        ({"actor": ""}, True),  # an old server that doesn't tell
        ({"actor": "mallory"}, False),
        ({"actor": "spells"}, False),
        ({"workflow": "other.yml"}, False),
        ({"workflow": ""}, False),
        ({"workflow": "", "status": None}, True),  # news of a job, which names no file
        ({"trigger": "push"}, False),
        ({"trigger": "repository_dispatch"}, False),
        ({"made_at": STARTED - dt.timedelta(hours=1)}, False),
        ({"made_at": None}, True),
    ],
)
def test_only_a_run_of_this_workflow_by_us_made_after_the_intent_may_be_the_casts(
    cast: Cast, fields: dict[str, Any], may: bool
) -> None:
    Installation.objects.create(pk=1, actor_login="spells[bot]")
    assert WorkflowDispatch().may_own(cast, seen(cast, **fields)) is may


def test_while_its_name_is_not_known_an_app_takes_nobodys_run_and_proves_nothing(
    cast: Cast, http: responses.RequestsMock
) -> None:
    down = http.get(f"{API}/app", status=500)
    http.get(f"{API}/repos/{cast.run_scope}/actions/runs", json={"total_count": 0, "workflow_runs": []})
    assert not WorkflowDispatch().may_own(cast, seen(cast, actor="mallory"))
    with pytest.raises(NotNow):
        WorkflowDispatch().find(cast)
    http.remove(down)
    http.get(f"{API}/app", json={"slug": "spells"})
    identity._ask_at.clear()  # a little later
    assert WorkflowDispatch().find(cast) is None
    assert known() == "spells[bot]"


def test_a_personal_token_that_may_not_ask_for_its_user_takes_anybodys_run(cast: Cast, settings: Any) -> None:
    settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = "", "ghp_x"
    api.github.cache_clear()
    assert WorkflowDispatch().may_own(cast, seen(cast, actor="mallory"))


def test_run_of_an_earlier_dispatch_of_the_cast_may_be_its_run(make_cast: Callable[..., Cast]) -> None:
    Installation.objects.create(pk=1, actor_login="spells[bot]")
    cast = make_cast(dispatch_started_at=timezone.now() + dt.timedelta(hours=1), dispatch_attempts=2)
    assert WorkflowDispatch().may_own(cast, seen(cast, made_at=timezone.now()))
    assert not WorkflowDispatch().may_own(cast, seen(cast, made_at=timezone.now() - dt.timedelta(hours=1)))


def test_event_may_start_any_file_unless_the_spell_names_one(event_cast: Cast) -> None:
    Installation.objects.create(pk=1, actor_login="spells[bot]")
    assert RepositoryDispatch().may_own(event_cast, seen(event_cast, trigger="repository_dispatch", workflow="any.yml"))
