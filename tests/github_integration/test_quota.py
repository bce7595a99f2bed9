"""What an installation may ask of GitHub, shared by all processes."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import responses
from django.conf import settings as conf
from django.db import connections
from django.db.models import F
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
    quota.suspended(1, message="suspended meanwhile")
    quota.answered(before, None)
    before.failures = 3
    quota.answered(before, None)
    assert row().suspended_at is not None


# --- pace ------------------------------------------------------------------------------------------------


def book(count: int) -> list[float]:
    now = timezone.now()
    starts = [quota.book(1) for _ in range(count)]
    return [(start.at - now).total_seconds() for start in starts if start.kept]


def spent(count: int) -> tuple[int, list[float]]:
    """Ask for so many GETs one by one; return how many were to be had, and when the others may ask again."""
    now, put_off = timezone.now(), list[NotNow]()
    for _ in range(count):
        try:
            quota.spend(1)
        except NotNow as exc:
            put_off.append(exc)
    assert {one.reason for one in put_off} <= {""}
    return count - len(put_off), [(one.retry_at - now).total_seconds() for one in put_off if one.retry_at]


def test_a_few_dispatches_go_at_once_and_a_thousand_as_fast_as_github_permits() -> None:
    starts = book(1000)
    assert max(starts[: quota.DISPATCH_BURST]) < 1
    assert starts == sorted(starts)
    in_each_minute = [sum(minute * 60 <= start < (minute + 1) * 60 for start in starts) for minute in range(9)]
    assert in_each_minute[1:8] == pytest.approx([120] * 7, abs=1)  # 600 of the 900 points
    assert max(in_each_minute) <= 120 + quota.DISPATCH_BURST
    assert starts[-1] == pytest.approx((1000 - 20) / 2, abs=5)


def hour(*, left: int, minutes: int = 30) -> Installation:
    """Have so many requests left of 5,000 for so many minutes."""
    known = quota.known(1)
    reset_at = timezone.now() + dt.timedelta(minutes=minutes)
    Installation.objects.filter(pk=1).update(rate_limit=5000, rate_remaining=left, rate_reset_at=reset_at)
    known.refresh_from_db()
    return known


def test_looks_are_not_spared_while_requests_are_plentiful() -> None:
    for left in (5000, 4200):
        between = quota.between_looks(hour(left=left, minutes=60), timezone.now())
        assert between == dt.timedelta(seconds=0.2)  # by points a minute alone
    had, again = spent(200)
    assert had >= quota.LOOK_BURST
    assert max(again) < 5


def test_looks_are_spared_as_requests_run_out_and_hardly_made_when_none_is_left() -> None:
    apart = []
    for left in (5000, 4200, 3000, 2000, 1600, 1500, 0):
        known = hour(left=left)
        assert known.rate_reset_at is not None
        now = known.rate_reset_at - dt.timedelta(minutes=30)
        apart.append(round(quota.between_looks(known, now).total_seconds(), 1))
    assert apart == [0.2, 0.2, 0.4, 2.6, 17.0, 1799.0, 1799.0]
    assert apart == sorted(apart)


def test_what_looks_spend_in_an_hour_leaves_room_for_what_cannot_wait() -> None:
    """However many want to look, three tenths of the hour's requests are left for dispatches and artifacts."""
    now, left, seconds = timezone.now(), 5000, 0.0
    known = Installation(id=1, rate_limit=5000, rate_reset_at=now + dt.timedelta(hours=1))
    while seconds < 3600:
        known.rate_remaining = left
        seconds += quota.between_looks(known, now + dt.timedelta(seconds=seconds)).total_seconds()
        left -= 1
    assert left >= 1500 - 1


def test_who_is_put_off_comes_back_one_after_the_other() -> None:
    _, again = spent(1200)
    assert len(again) > 500
    assert again == sorted(again)
    assert all(later - before >= 0.019 for before, later in pairwise(again))


def test_what_was_spent_while_little_was_left_does_not_reach_beyond_the_hours_end() -> None:
    hour(left=0, minutes=20)
    assert spent(50)[0] <= 2
    reset_at = row().rate_reset_at
    Installation.objects.update(looks_booked_until=F("looks_booked_until") - dt.timedelta(minutes=20))
    hour(left=5000, minutes=60)
    booked_until = row().looks_booked_until
    assert booked_until is not None
    assert reset_at is not None
    assert booked_until <= reset_at
    assert spent(50)[0] == 50


def test_limit_that_is_over_is_forgotten() -> None:
    known = hour(left=0, minutes=-1)
    assert quota.between_looks(known, timezone.now()) == quota.between_looks(Installation(id=1), timezone.now())


def test_no_limit_means_no_turns(settings: Any) -> None:
    settings.GITHUB_POINTS_PER_MINUTE = 0
    assert max(book(500)) < 5
    assert spent(500) == (500, [])
    assert not Installation.objects.exists()


def test_dispatches_and_looks_do_not_wait_for_each_other() -> None:
    spent(200)
    assert max(book(10)) < 1


@pytest.mark.django_db(transaction=True)
def test_no_two_processes_start_at_the_same_time() -> None:
    quota.known(1)
    Installation.objects.update(dispatches_booked_until=timezone.now() + dt.timedelta(seconds=60))
    starts: list[dt.datetime] = []

    def work() -> None:
        starts.extend(start.at for _ in range(10) if (start := quota.book(1)).kept)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts.sort()
    apart = [(b - a).total_seconds() for a, b in itertools.pairwise(starts)]
    assert len(starts) == 40
    assert min(apart) == pytest.approx(0.5, abs=0.001)
    assert max(apart) == pytest.approx(0.5, abs=0.001)


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
