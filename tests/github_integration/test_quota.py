"""Whether an installation may ask anything of GitHub now, shared by all processes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses
from django.conf import settings as conf
from django.utils import timezone

from casts.models import Cast
from casts.runtime import AccessLost, NotNow, Run
from github_integration import api, identity, quota
from github_integration.models import PERSONAL, Installation
from github_integration.runtime import WorkflowDispatch

from .conftest import mint_into
from .doubles import API, LATER, REPO

Pause = Installation.Pause
MINT = f"{API}/app/installations/1/access_tokens"
DISPATCH = f"{API}/repos/{REPO}/actions/workflows/cast.yml/dispatches"
RUN = f"{API}/repos/{REPO}/actions/runs/7"
SAID = {"message": "as GitHub says"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _app(
    settings: Any, http: responses.RequestsMock, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setattr(identity, "learn", lambda installation: None)
    settings.GITHUB_API_URL, settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = API, "1", ""
    settings.GITHUB_POINTS_PER_MINUTE = 900
    api.github.cache_clear()
    mint_into(http)
    yield
    api.github.cache_clear()


def row(number: int = 1) -> Installation:
    return Installation.objects.get(pk=number)


def seconds_until(moment: dt.datetime | None) -> float:
    assert moment is not None
    return (moment - timezone.now()).total_seconds()


def dispatch(cast: Cast) -> Run | None:
    return WorkflowDispatch().start(cast, before=LATER)


def refused(cast: Cast) -> NotNow:
    with pytest.raises(NotNow) as caught:
        dispatch(cast)
    return caught.value


def over(number: int = 1) -> None:
    """Let the pause's time pass."""
    Installation.objects.filter(pk=number).update(paused_until=timezone.now())


# --- pauses ----------------------------------------------------------------------------------------------


def test_rate_limit_of_one_cast_pauses_all_of_its_installation_in_every_process(
    cast: Cast, make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    http.post(DISPATCH, json=SAID, status=429, headers={"Retry-After": "300"})
    first = refused(cast)
    sent = len(http.calls)
    api.github.cache_clear()  # another process
    second = refused(make_cast())
    assert "as GitHub says" in str(first)
    assert "as GitHub says" not in str(second)  # what GitHub said to another cast is the operators'
    assert (second.reason, second.retry_at) == ("rate_limited", first.retry_at)
    for ask in (WorkflowDispatch().find, WorkflowDispatch().book):
        with pytest.raises(NotNow):
            ask(cast)
    assert len(http.calls) == sent


def test_other_installations_are_not_paused(make_cast: Callable[..., Cast], http: responses.RequestsMock) -> None:
    quota.pause(1, until=timezone.now() + dt.timedelta(hours=1), reason=Pause.RATE_LIMITED, message="wait")
    http.post(f"{API}/app/installations/2/access_tokens", json={"token": "ghs_2", "expires_at": "2100-01-01T00:00:00Z"})
    http.post(DISPATCH, json={"workflow_run_id": 7})
    assert dispatch(make_cast(spell={"installation_id": 2})) == Run(key="7")


def test_pause_ends_by_itself_and_the_first_success_clears_it(cast: Cast, http: responses.RequestsMock) -> None:
    quota.pause(1, until=timezone.now() - dt.timedelta(seconds=1), reason=Pause.RATE_LIMITED, message="over")
    http.post(DISPATCH, json={"workflow_run_id": 7})
    assert dispatch(cast) == Run(key="7")
    assert (row().pause_reason, row().pause_message, row().paused_until) == ("", "", None)


def test_resuming_forgets_the_pause_and_wakes_the_casts_that_wait_for_it(
    cast: Cast, make_cast: Callable[..., Cast], http: responses.RequestsMock
) -> None:
    later = timezone.now() + dt.timedelta(hours=1)
    other = make_cast(spell={"installation_id": 2})
    Cast.objects.update(status_reason="rate_limited", due_at=later)
    for number in (1, 2):
        quota.pause(number, until=later, reason=Pause.RATE_LIMITED, message="wait")
    Installation.objects.update(suspended_at=later, removed_at=later, failures=9, unnamed_limits=3)
    asked = len(http.calls)
    assert quota.resume(1, by="") == 1
    assert len(http.calls) == asked
    cast.refresh_from_db()
    other.refresh_from_db()
    assert cast.due_at is not None
    assert cast.due_at <= timezone.now()
    assert other.due_at == later
    assert row(2).paused_until == later
    assert not any(getattr(row(), name) for name in quota.HEALTHY)
    assert quota.resume(1, by="") is None
    assert quota.resume(77, by="") is None
    http.post(DISPATCH, json=SAID, status=429, headers={"Retry-After": "300"})
    assert refused(cast).reason == "rate_limited"  # if it is not over, the next call says so again
    assert row().pause_reason == Pause.RATE_LIMITED


def test_earlier_end_never_shortens_a_pause() -> None:
    long, short = (timezone.now() + dt.timedelta(minutes=m) for m in (30, 1))
    quota.pause(5, until=long, reason=Pause.RATE_LIMITED, message="long")
    quota.pause(5, until=short, reason=Pause.UNAVAILABLE, message="short")
    assert (row(5).paused_until, row(5).pause_message, row(5).pause_reason) == (long, "long", Pause.RATE_LIMITED)


def test_long_message_of_a_pause_is_cut_to_what_the_column_holds() -> None:
    quota.pause(5, until=timezone.now() + dt.timedelta(minutes=1), reason=Pause.RATE_LIMITED, message="x" * 2000)
    assert len(row(5).pause_message) == 500


def test_rate_limit_without_a_named_end_lasts_a_minute_and_doubles_until_a_call_succeeds(
    cast: Cast, http: responses.RequestsMock
) -> None:
    limited = http.post(DISPATCH, json={"message": "You have exceeded a secondary rate limit."}, status=403)
    waits = []
    for _ in range(8):
        waits.append(round(seconds_until(refused(cast).retry_at)))
        over()
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    http.remove(limited)
    allowed = http.post(DISPATCH, json={"workflow_run_id": 7})
    dispatch(cast)
    http.remove(allowed)
    http.add(limited)
    assert round(seconds_until(refused(cast).retry_at)) == 60


def test_limits_that_meet_several_calls_under_way_count_once() -> None:
    first = quota.rate_limited(1, until=None, message="secondary")
    assert [quota.rate_limited(1, until=None, message="secondary") for _ in range(5)] == [first] * 5
    assert row().unnamed_limits == 1


def test_suspended_installation_waits_says_so_and_is_tried_again_each_minute(
    cast: Cast, http: responses.RequestsMock
) -> None:
    message = "This installation has been suspended"
    http.replace("POST", MINT, json={"message": message}, status=403)
    waiting = refused(cast)
    assert waiting.reason == "installation_suspended"
    assert "its owner must end that on GitHub" in str(waiting)
    assert 55 < seconds_until(waiting.retry_at) <= 60
    assert row().suspended_at is not None
    sent = len(http.calls)
    assert refused(cast).reason == "installation_suspended"
    assert len(http.calls) == sent  # not asked again before the minute is over
    over()
    http.replace("POST", MINT, json={"token": "ghs_2", "expires_at": "2100-01-01T00:00:00Z"}, status=201)
    http.post(DISPATCH, json={"workflow_run_id": 7})
    assert dispatch(cast) == Run(key="7")
    assert row().suspended_at is None


def test_removed_installation_is_given_some_minutes_then_its_casts_are_lost(
    cast: Cast, http: responses.RequestsMock
) -> None:
    http.replace("POST", MINT, json={"message": "Not Found"}, status=404)
    waiting = refused(cast)
    assert not isinstance(waiting, AccessLost)
    assert waiting.reason == "installation_removed"
    assert "has no installation 1" in str(waiting)
    Installation.objects.update(removed_at=timezone.now() - dt.timedelta(seconds=conf.CAST_LOST_SECONDS))
    lost = refused(cast)
    assert isinstance(lost, AccessLost)
    assert lost.reason == "installation_removed"


def test_one_unanswered_call_pauses_nobody_and_an_outage_all(cast: Cast, http: responses.RequestsMock) -> None:
    broken = http.get(RUN, status=502)
    cast.run_key = "7"
    asked = 0
    pauses = []
    for _ in range(12):
        with pytest.raises(NotNow):
            WorkflowDispatch().observe(cast, closely=True)
        asked += 1
        if row().paused_until is not None:
            pauses.append(round(seconds_until(row().paused_until)))
            assert row().pause_reason == Pause.UNAVAILABLE
            over()
    assert len(pauses) == asked - (quota.FAILURES_BEFORE_PAUSE - 1)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    http.remove(broken)
    http.get(RUN, json={"id": 7})
    http.get(f"{RUN}/jobs", json={"total_count": 0, "jobs": []})
    WorkflowDispatch().observe(cast, closely=True)
    assert (row().failures, row().paused_until) == (0, None)


def test_what_is_noted_while_a_call_is_under_way_is_not_cleared_by_its_success() -> None:
    before = quota.known(1)
    quota.suspended(quota.known(1), message="suspended meanwhile")
    quota.answered(before, None)
    before.failures = 3
    quota.answered(before, None)
    assert row().suspended_at is not None


def test_a_refusal_that_comes_after_the_word_that_the_suspension_is_over_changes_nothing() -> None:
    """GitHub refused a call, and before the step had noted it the webhook told that the owner had ended it."""
    quota.suspended(quota.known(1), message="suspended")
    before = quota.known(1)
    Installation.objects.get(pk=1).save()  # as the webhook's handler does
    quota.suspension_ended(1)
    again = quota.suspended(before, message="suspended")
    assert (row().suspended_at, row().paused_until) == (None, None)
    assert seconds_until(again) <= 0
    # Of several that were refused at once, the first notes it, and all wait.
    before, until = quota.known(1), quota.suspended(quota.known(1), message="suspended")
    assert quota.suspended(before, message="suspended") == row().paused_until == until


# --- what GitHub tells -----------------------------------------------------------------------------------


def test_what_github_tells_of_its_limit_is_kept_for_all_processes(cast: Cast, http: responses.RequestsMock) -> None:
    reset = int(timezone.now().timestamp()) + 1800
    head = {"X-RateLimit-Limit": "12500", "X-RateLimit-Remaining": "9000", "X-RateLimit-Reset": str(reset)}
    http.post(DISPATCH, json={"workflow_run_id": 7}, headers=head)
    dispatch(cast)
    assert (row().rate_limit, row().rate_remaining) == (12500, 9000)
    assert row().rate_reset_at == dt.datetime.fromtimestamp(reset, tz=dt.UTC)


def test_small_changes_are_not_written(cast: Cast, http: responses.RequestsMock) -> None:
    reset = str(int(timezone.now().timestamp()) + 1800)
    for left in (4000, 3999, 3960, 3940):
        head = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": reset}
        http.post(DISPATCH, json={"workflow_run_id": 7}, headers=head)
    written = []
    for _ in range(4):
        dispatch(cast)
        written.append(row().rate_remaining)
    assert written == [4000, 4000, 4000, 3940]


def test_personal_token_has_limits_of_its_own(cast: Cast, settings: Any, http: responses.RequestsMock) -> None:
    settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = "", "ghp_x"
    api.github.cache_clear()
    http.post(DISPATCH, json=SAID, status=429, headers={"Retry-After": "30"})
    refused(cast)
    assert quota.is_paused(row(PERSONAL))
