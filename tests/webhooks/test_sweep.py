"""The delivery sweep: what never reached us is found in GitHub's log, and taken in once, by the same endpoint."""

from __future__ import annotations

import datetime as dt
import json
import random
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import responses
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from casts.models import Cast
from core.queue.due import GIVE_UP_AFTER
from core.queue.worker import step_once
from github_integration import api, transport
from github_integration.models import Installation
from webhooks import sweep
from webhooks.inbox import receive_delivery
from webhooks.models import Delivery, DeliverySweep
from webhooks.sweep import SweepWork, ensure

from .conftest import again, deliver, run_event, sample, stored
from .fakes import Log

API = "https://api.github.com"
HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
LEASE = dt.timedelta(seconds=30)
BROKEN = {"message": "Server Error"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _github_com(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.GITHUB_API_URL = API
    api.github.cache_clear()
    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=lambda seconds: None)
    monkeypatch.setattr(transport, "time", clock)
    yield
    api.github.cache_clear()


@pytest.fixture
def http() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def log(http: responses.RequestsMock) -> Log:
    return Log(http, API)


def the_row() -> DeliverySweep:
    return DeliverySweep.objects.get()


def claimed() -> DeliverySweep:
    """Claim the row as a worker does, due or not."""
    ensure()
    DeliverySweep.objects.filter(lease_until=None).update(due_at=timezone.now())
    [row] = SweepWork().rows().claim(limit=5, lease=LEASE)
    found: DeliverySweep = row
    return found


def step() -> float | None:
    """Do one step; return the seconds until the next one (None: never)."""
    row, now = claimed(), timezone.now()
    with mock.patch.object(timezone, "now", return_value=now):  # however long the step takes here
        due_at = SweepWork().step(row)
    assert row.give_back(due_at)
    return None if due_at is None else (due_at - now).total_seconds()


def finish(limit: int = 50) -> int:
    """Step until the round is done; return how many steps it took."""
    was = DeliverySweep.objects.values_list("finished_at", flat=True).first()
    for number in range(1, limit + 1):
        step()
        if the_row().finished_at != was:
            return number
    raise AssertionError(f"not done after {limit} steps: {the_row().error}")


def held_guids() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("guid", flat=True))


def ping() -> dict[str, Any]:
    return sample("ping.repository")


# --- what is taken in -----------------------------------------------------------------------------------------------


def test_lost_delivery_is_found_and_moves_its_cast(log: Log, running: Cast) -> None:
    guid = log.add("workflow_run", run_event(running, "completed"))
    finish()
    assert stored().guid == guid
    assert stored().outcome == Delivery.Outcome.APPLIED
    assert again(running).run_finished_at is not None
    assert (the_row().recovered, the_row().error) == (1, "")


def test_what_we_hold_is_not_fetched_and_what_we_never_keep_neither(log: Log, running: Cast) -> None:
    body = run_event(running, "in_progress")
    deliver("workflow_run", body, guid=log.add("workflow_run", body))
    log.add("push", {"ref": "refs/heads/main"})
    log.add("check_run", {"action": "created"})
    lost = log.add("ping", ping())
    finish()
    assert len(log.fetched) == 1
    assert held_guids()[1:] == [lost]
    finish()
    assert len(log.fetched) == 1
    assert stored().repeats == 0


def test_line_that_says_ok_is_taken_in_if_we_do_not_hold_it(log: Log) -> None:
    """The database was restored from a copy, or another one answered at that address."""
    guid = log.add("ping", ping(), status="OK", status_code=202)
    finish()
    assert held_guids() == [guid]


def test_redeliveries_are_one(log: Log) -> None:
    guid = log.add("ping", ping(), ago=HOUR)
    log.add("ping", ping(), ago=HOUR / 2, guid=guid, redelivery=True)
    other = log.add("ping", ping(), ago=HOUR / 3)
    log.add("ping", ping(), guid=guid, redelivery=True)
    finish()
    assert held_guids() == [guid, other]
    assert len(log.fetched) == 2


def test_oldest_first_over_all_pages(log: Log) -> None:
    guids = [log.add("ping", ping(), ago=MINUTE * (350 - n)) for n in range(350)]
    assert finish() == 2  # 200 fetched in a step
    assert held_guids() == guids
    assert log.pages[:4] == ["", "v1_1250", "v1_1150", "v1_1050"]
    assert the_row().recovered == 350


def test_nothing_older_than_seventy_hours_and_nothing_before_the_last_sweep_is_asked_for(log: Log) -> None:
    log.add("ping", ping(), ago=71 * HOUR)
    old = log.add("ping", ping(), ago=69 * HOUR)
    finish()
    assert held_guids() == [old]
    # A day later: back to a quarter of an hour before the last round, no further.
    Delivery.objects.all().delete()
    log.lines.clear()
    log.add("ping", ping(), ago=24 * HOUR + 20 * MINUTE)
    late = log.add("ping", ping(), ago=24 * HOUR + 10 * MINUTE)
    new = log.add("ping", ping(), ago=HOUR)
    DeliverySweep.objects.update(swept_to=timezone.now() - 24 * HOUR)
    finish()
    assert held_guids() == [late, new]
    # After a week, what GitHub still keeps.
    log.lines.clear()
    log.add("ping", ping(), ago=71 * HOUR)
    kept = log.add("ping", ping(), ago=69 * HOUR)
    DeliverySweep.objects.update(swept_to=timezone.now() - 168 * HOUR)
    finish()
    assert held_guids() == [late, new, kept]


def test_log_is_read_no_further_than_needed(log: Log) -> None:
    for n in range(500):
        log.add("push", {}, ago=(500 - n) * MINUTE)
    DeliverySweep.objects.create(swept_to=timezone.now() - 100 * MINUTE)
    finish()
    assert len(log.pages) == 2
    swept_to = the_row().swept_to
    assert swept_to is not None
    assert swept_to > timezone.now() - MINUTE


def test_same_end_whatever_arrived_by_itself(log: Log) -> None:
    chance = random.Random(11)
    for _ in range(5):
        Delivery.objects.all().delete()
        DeliverySweep.objects.all().delete()
        log.lines.clear()
        log.fetched.clear()
        expected, lost = set(), 0
        for n in range(chance.randrange(0, 260)):
            event = chance.choice(["ping", "ping", "star", "installation_target"])
            age = (300 - n) * 16 * MINUTE
            payload = ping() if event == "ping" else {"action": "renamed", "target_type": "User"}
            guid = log.add(event, payload, ago=age)
            arrived = chance.random() < 0.5
            if arrived:
                receive_delivery(guid=guid, event=event, body=json.dumps(payload).encode())
            if event != "star" and (arrived or age < sweep.LOG_REACH):
                expected.add(guid)
                lost += not arrived
            if chance.random() < 0.2:
                log.add(event, payload, ago=age, guid=guid, redelivery=True)
        finish()
        finish()
        assert set(held_guids()) == expected
        assert len(log.fetched) == lost == the_row().recovered
        assert not Delivery.objects.filter(repeats__gt=0).exists()


def test_delivery_that_comes_by_itself_meanwhile_is_neither_doubled_nor_lost(log: Log) -> None:
    guid = log.add("ping", ping())
    log.after_fetch = lambda number: deliver("ping", ping(), guid=guid)
    finish()
    assert held_guids() == [guid]
    assert the_row().recovered == 0


def test_delivery_that_comes_by_itself_between_two_steps_is_not_fetched(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PAGES_PER_STEP", 1)
    guids = [log.add("ping", ping(), ago=(101 - n) * MINUTE) for n in range(101)]
    step()
    deliver("ping", ping(), guid=guids[50])
    finish()
    assert set(held_guids()) == set(guids)
    assert (len(log.fetched), Delivery.objects.get(guid=guids[50]).repeats) == (100, 0)


# --- installations, of which every delivery tells the whole state ---------------------------------------------------


def about(action: str, suspended_at: str | None = None) -> dict[str, Any]:
    body = sample(f"installation.{action}")
    body["installation"] |= {"id": 77, "suspended_at": suspended_at}
    return body


def test_suspension_and_its_end_are_recovered_in_order(log: Log) -> None:
    log.add("installation", about("suspend", "2026-11-23T12:00:00Z"), ago=2 * MINUTE)
    finish()
    assert Installation.objects.get(pk=77).suspended_at is not None
    log.add("installation", about("unsuspend"), ago=MINUTE)
    finish()
    assert Installation.objects.get(pk=77).suspended_at is None
    assert the_row().recovered == 2


def test_lost_suspension_does_not_undo_its_end_that_arrived(log: Log) -> None:
    log.add("installation", about("suspend", "2026-11-23T12:00:00Z"), ago=2 * MINUTE)
    other = about("created")
    other["installation"]["id"] = 78
    log.add("installation", other, ago=2 * MINUTE)
    deliver("installation", about("unsuspend"), guid=log.add("installation", about("unsuspend"), ago=MINUTE))
    finish()
    assert Installation.objects.get(pk=77).suspended_at is None
    assert Installation.objects.filter(pk=78).exists()
    assert len(log.fetched) == 1


def test_suspension_that_github_could_not_show_is_not_taken_in_after_its_end(log: Log) -> None:
    log.add("installation", about("suspend", "2026-11-23T12:00:00Z"), ago=2 * MINUTE)
    log.add("installation", about("unsuspend"), ago=MINUTE)
    log.trouble["1000"] = [(500, {}, BROKEN)] * transport.MAX_TRIES
    step()
    finish()
    finish()
    assert Installation.objects.get(pk=77).suspended_at is None
    assert the_row().recovered == 1


# --- what can't be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [None, [], "text", {}, {"workflow_run": {"id": "x"}}, {"action": "completed"}, {"workflow_run": {"id": 2**70}}],
    ids=str,
)
def test_payload_that_is_none_is_counted_once_and_holds_nothing_up(log: Log, bad: Any) -> None:
    log.add("workflow_run", bad, ago=2 * MINUTE)
    good = log.add("ping", ping(), ago=MINUTE)
    finish()
    finish()
    assert held_guids() == [good]
    assert (the_row().recovered, the_row().unreadable, len(log.fetched)) == (1, 1, 2)


def test_payload_that_is_gone_holds_nothing_up(log: Log) -> None:
    log.add("ping", ping(), ago=2 * MINUTE)
    good = log.add("ping", ping(), ago=MINUTE)
    log.trouble["1000"] = (404, {}, {"message": "Not Found"})
    finish()
    assert held_guids() == [good]
    assert (the_row().recovered, the_row().unreadable) == (1, 1)


def test_lines_that_cannot_be_read_are_passed_over(log: Log) -> None:
    for line in ({"id": "x"}, {"guid": None}, {"guid": "g" * 65}, {"delivered_at": "yesterday"}):
        log.add("ping", ping(), **line)
    log.add("", ping())
    good = log.add("ping", ping())
    log.lines[0:0] = [None, 7, "text"]
    finish()
    assert held_guids() == [good]


def test_delivery_that_github_fails_to_show_waits_for_the_next_round(log: Log) -> None:
    bad = log.add("ping", ping(), ago=2 * MINUTE)
    good = log.add("ping", ping(), ago=MINUTE)
    log.trouble["1000"] = [(500, {}, BROKEN)] * transport.MAX_TRIES
    assert step() == pytest.approx(15, abs=1)
    assert "Server Error" in the_row().error
    finish()
    assert held_guids() == [good]
    assert the_row().error != ""
    finish()
    assert held_guids() == [good, bad]
    assert (the_row().error, the_row().progress["put_off"]) == ("", [])


def test_delivery_that_github_never_shows_is_forgotten_when_it_leaves_the_log(log: Log) -> None:
    log.add("ping", ping(), ago=60 * HOUR)
    log.trouble["1000"] = (500, {}, BROKEN)
    step()
    finish()
    row = the_row()
    [left] = row.progress["put_off"]
    left["delivered_at"] = (timezone.now() - 71 * HOUR).isoformat()
    DeliverySweep.objects.update(progress=row.progress)
    finish()
    assert the_row().progress["put_off"] == []


# --- GitHub's trouble -----------------------------------------------------------------------------------------------


def test_trouble_is_noted_and_waited_out_ever_longer(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    log.trouble["deliveries"] = (502, {}, BROKEN)
    waits = [step() for _ in range(7)]
    assert [round(wait or 0) for wait in waits] == [15, 30, 60, 120, 300, 300, 300]
    assert "Server Error" in the_row().error
    assert len([r for r in caplog.records if r.levelname == "WARNING" and "sweep" in r.message]) == 1
    del log.trouble["deliveries"]
    log.add("ping", ping())
    finish()
    assert (the_row().error, the_row().failures, the_row().recovered) == ("", 0, 1)


@pytest.mark.parametrize("where", ["deliveries", "1000"])
def test_rate_limit_is_waited_out_as_github_says(log: Log, where: str) -> None:
    guid = log.add("ping", ping())
    log.trouble[where] = (403, {"Retry-After": "120"}, {"message": "You have exceeded a secondary rate limit"})
    assert step() == pytest.approx(120, abs=2)
    assert "secondary rate limit" in the_row().error
    assert not Installation.objects.exists()  # a limit of the App's own calls, not of an installation's
    del log.trouble[where]
    finish()
    assert held_guids() == [guid]


@pytest.mark.parametrize("status", [401, 404])
def test_no_access_to_the_log_is_noted(log: Log, status: int) -> None:
    log.trouble["deliveries"] = (status, {}, {"message": "Integration not found"})
    assert step() == pytest.approx(15, abs=1)
    assert "Integration not found" in the_row().error


def test_key_that_cannot_be_read_is_noted(log: Log, settings: Any) -> None:
    settings.GITHUB_APP_PRIVATE_KEY = "/no/such/file.pem"
    api.github.cache_clear()
    assert step() == pytest.approx(15, abs=1)
    assert "GITHUB_APP_PRIVATE_KEY" in the_row().error


def test_cursor_that_github_no_longer_knows_begins_the_log_anew(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGES_PER_STEP", 1)
    guids = [log.add("ping", ping(), ago=(150 - n) * MINUTE) for n in range(150)]
    step()
    log.trouble["deliveries"] = [(400, {}, {"message": "Invalid cursor"})]
    step()
    finish()
    assert held_guids() == guids
    assert log.pages == ["", "", "v1_1050"]


def test_something_in_between_that_answers_nonsense_is_trouble(log: Log, http: responses.RequestsMock) -> None:
    log.trouble["deliveries"] = (200, {}, {"not": "a list"})
    assert step() == pytest.approx(15, abs=1)
    assert "not a JSON list" in the_row().error


# --- in steps, by one worker at a time ------------------------------------------------------------------------------


def test_step_is_bounded_and_the_next_one_goes_on(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGES_PER_STEP", 2)
    monkeypatch.setattr(sweep, "FETCHES_PER_STEP", 100)
    guids = [log.add("ping", ping(), ago=(450 - n) * MINUTE) for n in range(450)]
    for pages, fetched in ((2, 0), (4, 0), (5, 100), (5, 200), (5, 300), (5, 400)):
        assert step() == pytest.approx(1, abs=0.5)
        assert (len(log.pages), len(log.fetched)) == (pages, fetched)
        assert the_row().finished_at is None
    assert (step() or 0) > 250
    assert held_guids() == guids
    assert the_row().finished_at is not None


def test_step_ends_when_its_time_is_up(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "STEP_SECONDS", 0.0)
    log.add("ping", ping())
    assert step() == pytest.approx(1, abs=0.5)
    assert (log.pages, log.fetched) == ([], [])


def test_more_than_is_noted_at_once_is_found_by_the_next_round(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "MISSING_MAX", 30)
    guids = [log.add("ping", ping(), ago=(130 - n) * 30 * MINUTE) for n in range(130)]
    finish()
    assert held_guids() == guids[:30]
    swept_to = the_row().swept_to
    assert swept_to is not None
    assert (timezone.now() - swept_to) > 49 * HOUR
    for _ in range(4):
        assert finish() == 1
    assert held_guids() == guids
    assert len(log.fetched) == 130


class Killed(BaseException):
    """The worker's process ends here."""


@pytest.mark.parametrize("dies_at", [0, 1, 99, 149])
def test_worker_that_dies_in_the_middle_leaves_nothing_out_and_nothing_doubled(log: Log, dies_at: int) -> None:
    guids = [log.add("ping", ping(), ago=(150 - n) * MINUTE) for n in range(150)]

    def die(number: int) -> None:
        if number == 1000 + dies_at:
            log.after_fetch = lambda number: None
            raise Killed

    log.after_fetch = die
    with pytest.raises(Killed):
        SweepWork().step(claimed())
    assert held_guids() == guids[:dies_at]
    DeliverySweep.objects.update(lease_until=timezone.now())
    assert SweepWork().rows().recover() == 1
    finish()
    assert held_guids() == guids
    assert len(log.fetched) == 151  # the one that it died with, twice
    assert not Delivery.objects.filter(repeats__gt=0).exists()


def test_two_workers_never_sweep_at_once(log: Log) -> None:
    log.add("ping", ping())
    first = claimed()
    ensure()
    assert the_row().due_at is None
    assert SweepWork().rows().claim(limit=5, lease=LEASE) == []
    assert first.give_back(SweepWork().step(first))


def test_worker_that_was_stopped_and_wakes_up_late_writes_nothing(log: Log) -> None:
    guids = [log.add("ping", ping(), ago=(3 - n) * MINUTE) for n in range(3)]
    late = claimed()

    left: list[Any] = []

    def meanwhile(number: int) -> None:
        log.after_fetch = lambda number: None
        DeliverySweep.objects.update(lease_until=timezone.now())
        SweepWork().rows().recover()
        finish()
        left.extend(DeliverySweep.objects.values())

    log.after_fetch = meanwhile
    due_at = SweepWork().step(late)
    assert not late.give_back(due_at)
    assert held_guids() == guids
    assert the_row().recovered == 3
    assert list(DeliverySweep.objects.values()) == left


# --- when there is nothing to sweep ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"GITHUB_APP_ID": "", "GITHUB_TOKEN": "ghp_x"}, {"GITHUB_APP_ID": ""}, {"DELIVERY_SWEEP_SECONDS": 0}],
    ids=["a token", "nobody", "switched off"],
)
def test_without_app_or_when_switched_off_it_rests(log: Log, settings: Any, changes: dict[str, Any]) -> None:
    before = {name: getattr(settings, name) for name in changes}
    for name, value in changes.items():
        setattr(settings, name, value)
    api.github.cache_clear()
    with CaptureQueriesContext(connection) as asked:
        ensure()
    assert (len(asked), DeliverySweep.objects.count()) == (0, 0)
    # It was on before: the row rests until it is on again.
    row = DeliverySweep.objects.create(due_at=timezone.now())
    [row] = SweepWork().rows().claim(limit=1, lease=LEASE)
    assert row.give_back(SweepWork().step(row))
    assert SweepWork().rows().seconds_until_due() is None
    ensure()
    assert the_row().due_at is None
    assert log.pages == []
    for name, value in before.items():
        setattr(settings, name, value)
    api.github.cache_clear()
    ensure()
    assert the_row().due_at is not None


def test_rounds_begin_as_often_as_the_settings_say(log: Log, settings: Any) -> None:
    assert step() == pytest.approx(300, abs=2)
    settings.DELIVERY_SWEEP_SECONDS = 60
    assert step() == pytest.approx(60, abs=2)


def test_every_worker_sees_to_the_row_and_there_is_one(settings: Any) -> None:
    assert "webhooks.sweep.ensure" in settings.SWEEPS
    assert "webhooks.sweep.SweepWork" in settings.WORK
    ensure()
    due_at = the_row().due_at
    ensure()
    assert the_row().due_at == due_at


# --- a delivery that ends the worker --------------------------------------------------------------------------------


def die(guid: str) -> Any:
    """Have the worker die whenever this delivery is received."""

    def receive(**given: Any) -> bool:
        if given["guid"] == guid:
            raise Killed
        return receive_delivery(**given)

    return mock.patch.object(sweep, "receive_delivery", receive)


def test_a_delivery_that_ends_the_worker_is_left_out_and_the_others_come_in(log: Log) -> None:
    before, deadly, behind = (log.add("ping", ping(), ago=MINUTE * ago) for ago in (3, 2, 1))
    deaths = 0
    with die(deadly):
        for _ in range(2 * GIVE_UP_AFTER):
            row = claimed()
            try:
                step_once(SweepWork(), row)
            except Killed:
                deaths += 1
                DeliverySweep.objects.update(lease_until=timezone.now())
                assert DeliverySweep.due_rows().recover() == 1
            if the_row().finished_at:
                break
    assert deaths == GIVE_UP_AFTER
    assert held_guids() == [before, behind]
    assert (the_row().unreadable, the_row().failed_steps) == (1, 0)


def test_a_log_that_ends_the_worker_is_left_alone_until_an_operator_wants_it(log: Log) -> None:
    ensure()
    DeliverySweep.objects.update(failed_steps=GIVE_UP_AFTER)
    step_once(SweepWork(), claimed())
    assert the_row().error == "Reading GitHub's log failed 5 times in a row on our side, so it was given up."
    assert DeliverySweep.due_rows().parked().exists()
    assert sweep.sweep_again()
    assert the_row().failed_steps == 0
    guid = log.add("ping", ping())
    finish()
    assert held_guids() == [guid]
