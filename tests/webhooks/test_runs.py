"""What deliveries about runs and jobs do to casts: late, early, twice, and in any order."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import BudgetPeriod
from casts.execution.steps import CastWork
from casts.lifecycle import binding
from casts.models import Cast
from webhooks import inbox
from webhooks.handlers import HANDLERS
from webhooks.models import Delivery

from .conftest import again, at, deliver, job_event, made, run_event, sample, stored, work_off

Outcome = Delivery.Outcome
pytestmark = pytest.mark.django_db


def tell(body: dict[str, Any], **changes: Any) -> str:
    """Deliver a run's or a job's event; return its outcome."""
    event = "workflow_job" if "workflow_job" in body else "workflow_run"
    assert deliver(event, body, **changes).status_code == 202
    return stored().outcome


def finish(cast: Cast, settings: Any) -> Cast:
    """Have a worker do what is left to do after the run's end."""
    settings.SPELL_RUNTIMES = dict.fromkeys(settings.SPELL_RUNTIMES, "tests.webhooks.fakes.Quiet")
    Cast.objects.filter(pk=cast.pk).update(due_at=timezone.now())
    for row in Cast.due_rows().filter(pk=cast.pk).claim(limit=1, lease=dt.timedelta(seconds=30)):
        row.give_back(CastWork().step(row))
    return again(cast)


# --- which cast ------------------------------------------------------------------------------------------


def test_run_that_a_cast_has_is_known_by_its_id_without_any_token(running: Cast) -> None:
    assert tell(run_event(running, "in_progress", title="whatever")) == Outcome.APPLIED
    after = again(running)
    assert (after.status, after.status_reason, after.started_at) == ("queued", "waiting_for_runner", None)
    assert after.observation is not None
    assert after.observation["status"] == "in_progress"
    assert not after.spell.tags_runs


def test_run_of_a_waiting_cast_is_learnt_from_the_token_in_its_title(cast: Cast) -> None:
    assert tell(run_event(cast, "requested")) == Outcome.APPLIED
    after = again(cast)
    assert (after.run_key, after.status, after.status_reason) == ("42", "queued", "waiting_for_runner")
    assert after.run_url == f"https://github.com/{cast.run_scope}/actions/runs/42"
    assert after.spell.tags_runs


def test_name_of_a_repository_is_compared_as_github_does(cast: Cast) -> None:
    body = run_event(cast, "requested")
    body["repository"]["full_name"] = cast.run_scope.upper()
    assert tell(body) == Outcome.APPLIED


def test_same_run_id_in_another_repository_is_another_run(running: Cast) -> None:
    body = run_event(running, "completed")
    body["repository"]["full_name"] = "somebody/else"
    assert tell(body) == Outcome.NOT_OURS
    assert again(running).run_finished_at is None


def test_token_from_another_repository_binds_nothing(cast: Cast) -> None:
    body = run_event(cast, "requested")
    body["repository"]["full_name"] = "somebody/else"
    assert tell(body) == Outcome.NOT_OURS
    assert again(cast).run_key is None


@pytest.mark.parametrize(
    "title",
    ["[cast:{pk}x]", "[cast:x{pk}]", "{pk}", "[CAST:{pk}]", "[cast:00000000-0000-7000-8000-000000000000]", "[cast:]"],
)
def test_title_without_the_exact_token_binds_nothing(cast: Cast, title: str) -> None:
    assert tell(run_event(cast, "requested", title=title.format(pk=cast.pk))) == Outcome.NOT_OURS
    assert again(cast).run_key is None


def test_token_of_a_cast_that_was_never_dispatched_binds_nothing(make_cast: Callable[..., Cast]) -> None:
    cast = make_cast(dispatch_started_at=None, dispatched_at=None)
    assert tell(run_event(cast, "requested")) == Outcome.NOT_OURS
    assert again(cast).run_key is None


def test_second_run_with_a_casts_token_is_not_its_run(cast: Cast) -> None:
    tell(run_event(cast, "requested"))
    assert tell(run_event(cast, "completed", run_id=43)) == Outcome.NOT_OURS
    after = again(cast)
    assert (after.run_key, after.run_finished_at) == ("42", None)


def test_run_that_one_cast_has_is_never_given_to_another(cast: Cast, running: Cast) -> None:
    assert tell(run_event(cast, "in_progress")) == Outcome.APPLIED  # number 42, which `running` has
    assert again(cast).run_key is None
    assert again(running).status_reason == "waiting_for_runner"


@pytest.mark.parametrize("event", ["push", "workflow_run", "pull_request"])
def test_run_that_no_dispatch_started_binds_nothing_even_if_its_title_quotes_the_token(cast: Cast, event: str) -> None:
    tell(run_event(cast, "requested", event=event))
    assert again(cast).run_key is None


def test_event_spell_that_names_a_file_is_not_given_the_run_of_another_file(make_cast: Callable[..., Cast]) -> None:
    cast = make_cast(spell={"runtime": "repository_dispatch", "event_type": "spell", "workflow_file": "cast.yml"})
    assert tell(run_event(cast, "requested", run_id=41, path=".github/workflows/other.yml")) == Outcome.NOT_OURS
    assert again(cast).run_key is None
    assert tell(run_event(cast, "requested", run_id=42, path=".github/workflows/cast.yml")) == Outcome.APPLIED
    assert again(cast).run_key == "42"


@pytest.mark.parametrize("path", [".github/workflows/any.yml", None])
def test_event_spell_without_a_file_takes_the_run_with_its_token(make_cast: Callable[..., Cast], path: Any) -> None:
    cast = make_cast(spell={"runtime": "repository_dispatch", "event_type": "spell", "workflow_file": ""})
    assert tell(run_event(cast, "requested", path=path)) == Outcome.APPLIED


# --- any order -------------------------------------------------------------------------------------------

ACTIONS = ("requested", "in_progress", "completed")


@pytest.mark.parametrize("order", [*itertools.permutations(ACTIONS)], ids="-".join)
@pytest.mark.parametrize("known", [True, False], ids=["known by id", "known by token"])
def test_any_order_and_any_repetition_of_a_runs_deliveries_has_the_same_end(
    make_cast: Callable[..., Cast], settings: Any, order: tuple[str, ...], known: bool
) -> None:
    cast = make_cast(run_key="42") if known else make_cast()
    for action in (*order, *order, order[0]):
        tell(run_event(cast, action))
    after = again(cast)
    assert after.observation is not None
    assert (after.observation["status"], after.observation["conclusion"]) == ("completed", "success")
    assert (after.status, after.status_reason, after.progress) == ("queued", "copying_artifacts", 95)
    assert after.started_at is None, "a run's own start is when it was made"
    done = finish(after, settings)
    assert (done.status, done.status_reason) == ("succeeded", "succeeded")
    events = list(done.events.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, done.last_seq + 1))
    assert sum(event.kind == "run_finished" for event in events) == 1
    period = BudgetPeriod.objects.get()
    assert (period.held_cents, period.captured_cents) == (0, 5)


def test_repeat_under_another_guid_says_nothing_new(running: Cast) -> None:
    assert tell(run_event(running, "in_progress")) == Outcome.APPLIED
    seq = again(running).last_seq
    assert tell(run_event(running, "in_progress")) == Outcome.NOTHING_NEW
    assert again(running).last_seq == seq


def test_equal_times_do_not_let_a_late_in_progress_undo_the_end(running: Cast) -> None:
    tell(run_event(running, "completed", updated_at=at(9)))
    assert tell(run_event(running, "in_progress", updated_at=at(9))) == Outcome.NOTHING_NEW
    assert again(running).status_reason == "copying_artifacts"


def test_nothing_reopens_or_charges_a_cast_that_has_ended(running: Cast, settings: Any) -> None:
    tell(run_event(running, "completed"))
    done = finish(running, settings)
    for action in ACTIONS:
        assert tell(run_event(running, action)) == Outcome.NOTHING_NEW
    tell(run_event(running, "completed", conclusion="failure", updated_at=at(99)))
    after = again(running)
    assert (after.status, after.last_seq) == ("succeeded", done.last_seq)
    assert BudgetPeriod.objects.get().captured_cents == 5


def test_rerun_on_github_after_the_end_is_a_line_in_the_history(running: Cast, settings: Any) -> None:
    tell(run_event(running, "completed"))
    done = finish(running, settings)
    assert tell(run_event(running, "in_progress", run_attempt=2, updated_at=at(60))) == Outcome.APPLIED
    assert tell(run_event(running, "completed", run_attempt=2, updated_at=at(90))) == Outcome.NOTHING_NEW
    after = again(running)
    assert (after.status, after.last_seq) == ("succeeded", done.last_seq + 1)
    last = after.events.order_by("-seq").first()
    assert last is not None
    assert last.kind == "rerun_on_github"


@pytest.mark.parametrize(
    ("conclusion", "status", "reason"),
    [
        ("success", "succeeded", "succeeded"),
        ("neutral", "succeeded", "succeeded"),
        ("failure", "failed", "run_failed"),
        ("timed_out", "failed", "timed_out"),
        ("stale", "failed", "stale"),
        ("startup_failure", "failed", "startup_failure"),
        ("action_required", "failed", "action_required"),
        ("skipped", "failed", "skipped"),
        ("cancelled", "cancelled", "cancelled_on_github"),
    ],
)
def test_conclusion_decides_how_the_cast_ends(
    running: Cast, settings: Any, conclusion: str, status: str, reason: str
) -> None:
    tell(run_event(running, "completed", conclusion=conclusion))
    done = finish(running, settings)
    assert (done.status, done.status_reason) == (status, reason)


def test_completed_with_status_queued_is_believed_by_its_status(running: Cast) -> None:
    body = sample("workflow_run.completed.status-queued")
    body["repository"]["full_name"] = running.run_scope
    body["workflow_run"]["id"] = 42
    tell(body)
    after = again(running)
    assert (after.status, after.run_finished_at) == ("queued", None)


def test_requested_with_status_completed_is_believed_by_its_status(running: Cast) -> None:
    tell(run_event(running, "requested", status="completed", conclusion="action_required"))
    assert again(running).run_finished_at is not None


# --- jobs ------------------------------------------------------------------------------------------------

TOLD = ["job queued", "job in_progress", "job completed", "run in_progress", "run completed"]


@pytest.mark.parametrize("order", [*itertools.permutations(TOLD, 5)][::11], ids=lambda order: ",".join(order))
def test_jobs_before_and_after_their_run_have_the_same_end(
    running: Cast, settings: Any, order: tuple[str, ...]
) -> None:
    for what in order:
        kind, action = what.split()
        tell(run_event(running, action) if kind == "run" else job_event(running, action))
    after = again(running)
    assert [(job["id"], job["status"], job["conclusion"]) for job in after.jobs] == [(5, "completed", "success")]
    assert (after.status, after.status_reason) == ("running", "copying_artifacts")
    # The sample's step began years before, by its clock: so the time counts at which we first heard of it.
    assert after.started_at is not None
    assert after.created_at < after.started_at <= timezone.now()
    assert finish(after, settings).status == "succeeded"


def test_job_at_work_before_its_run_says_so_starts_the_cast(running: Cast) -> None:
    tell(job_event(running, "in_progress"))
    after = again(running)
    assert (after.status, after.status_reason) == ("running", "running")


def test_steps_of_a_job_move_the_progress_and_never_back(running: Cast) -> None:
    def steps(done: int) -> list[dict[str, Any]]:
        names = ("set up", "make", "test", "publish")
        states = ["completed"] * done + ["in_progress"] + ["queued"] * 4
        return [{"name": n, "number": i, "status": s} for i, (n, s) in enumerate(zip(names, states, strict=False), 1)]

    seen = []
    for done in (0, 2, 1, 3, 0):
        tell(job_event(running, "in_progress", steps=steps(done)))
        seen.append((again(running).progress, again(running).step_name))
    assert seen == [(10, "set up"), (50, "test"), (50, "test"), (70, "publish"), (70, "publish")]


def test_several_jobs_are_kept_side_by_side(running: Cast) -> None:
    for number in (3, 1, 2):
        tell(job_event(running, "queued", number=number))
    tell(job_event(running, "completed", number=2))
    assert [(job["id"], job["status"]) for job in again(running).jobs] == [
        (1, "queued"),
        (2, "completed"),
        (3, "queued"),
    ]


def test_job_of_an_earlier_attempt_counts_until_it_is_run_again(running: Cast) -> None:
    tell(run_event(running, "in_progress", run_attempt=2))
    tell(job_event(running, "completed", run_attempt=1))
    assert [(job["id"], job["attempt"]) for job in again(running).jobs] == [(5, 1)]
    tell(job_event(running, "completed", run_attempt=2, number=6))
    assert tell(job_event(running, "completed", run_attempt=1)) == Outcome.NOTHING_NEW
    assert [(job["id"], job["attempt"]) for job in again(running).jobs] == [(6, 2)]


def test_job_that_ended_before_it_began_is_kept_as_told(running: Cast) -> None:
    tell(job_event(running, "completed", conclusion="skipped", started_at=at(5), completed_at=at(1)))
    assert again(running).jobs[0]["conclusion"] == "skipped"


def test_waiting_for_an_approval_is_said(running: Cast) -> None:
    tell(run_event(running, "requested", status="waiting"))
    assert again(running).status_reason == "waiting_for_approval"


# --- before the run is known -----------------------------------------------------------------------------


def test_job_of_a_run_not_known_yet_is_kept_and_applied_once_the_run_is(cast: Cast) -> None:
    assert tell(job_event(cast, "in_progress")) == Outcome.PENDING
    row = stored()
    assert row.due_at is not None
    assert (row.due_at - timezone.now()).total_seconds() == pytest.approx(inbox.WAIT_SECONDS, abs=2)
    assert (row.error, row.applied_at) == ("", None)
    assert binding.bind_run(cast.pk, cast.run_scope, "42", "https://github.com/demo/spells/actions/runs/42")
    assert work_off() == 1
    row = Delivery.objects.get(pk=row.pk)
    assert (row.outcome, row.due_at, row.lease_until) == (Outcome.APPLIED, None, None)
    assert row.applied_at is not None
    assert again(cast).status == "running"


def test_whole_run_that_was_faster_than_the_answer_is_applied_afterwards(
    make_cast: Callable[..., Cast], settings: Any
) -> None:
    """The workflow has no token in its run-name, and its deliveries come before the dispatch's answer."""
    cast = make_cast(dispatched_at=None)
    for action in ACTIONS:
        assert tell(run_event(cast, action, title="greet")) == Outcome.PENDING
    binding.bind_run(cast.pk, cast.run_scope, "42", "")
    assert work_off() == 3
    assert set(Delivery.objects.values_list("outcome", flat=True)) <= {Outcome.APPLIED, Outcome.NOTHING_NEW}
    assert finish(cast, settings).status == "succeeded"


def test_kept_delivery_is_somebody_elses_once_every_cast_knows_its_run(make_cast: Callable[..., Cast]) -> None:
    cast = make_cast(dispatched_at=None)
    assert tell(run_event(cast, "requested", title="another", run_id=99)) == Outcome.PENDING
    binding.bind_run(cast.pk, cast.run_scope, "42", "")
    work_off()
    row = stored()
    assert (row.outcome, row.due_at) == (Outcome.NOT_OURS, None)


def test_waits_between_tries_grow_and_end(running: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(payload: Any) -> Outcome:
        raise LookupError

    monkeypatch.setitem(HANDLERS, "workflow_run", broken)
    tell(run_event(running, "requested"))
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)  # a busy machine takes its time, too
    waits = []
    for _ in range(inbox.GIVE_UP_AFTER):
        work_off()
        due = stored().due_at
        waits.append(None if due is None else (due - now).total_seconds())
    assert waits[:5] == [1, 2, 4, 8, 15]
    assert waits[-2] is not None
    assert waits[-1] is None
    assert work_off() == 0
    assert (stored().outcome, stored().error) == (Outcome.PENDING, "LookupError: ")


def test_delivery_that_was_given_up_is_tried_from_the_beginning_when_somebody_asks(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(payload: Any) -> Outcome:
        raise LookupError

    with monkeypatch.context() as patched:
        patched.setitem(HANDLERS, "workflow_run", broken)
        tell(run_event(cast, "requested", title="another", run_id=99))
        Delivery.objects.update(attempts=inbox.GIVE_UP_AFTER)
        work_off()
    row = stored()
    assert (row.outcome, row.due_at) == (Outcome.PENDING, None)
    assert inbox.apply_again([row.pk, row.pk + 1]) == [row.pk]
    row.refresh_from_db()
    assert (row.attempts, row.applied_at) == (0, None)
    [held] = inbox.DeliveryWork().rows().claim(limit=1, lease=dt.timedelta(seconds=30))
    assert inbox.apply_again([row.pk]) == []  # it is being tried
    held.give_back(inbox.DeliveryWork().step(held))
    row.refresh_from_db()
    assert row.outcome == Outcome.NOT_OURS
    before = Delivery.objects.values().get()
    assert inbox.apply_again([row.pk]) == []
    assert Delivery.objects.values().get() == before


# --- trouble ---------------------------------------------------------------------------------------------


def test_delivery_whose_handler_fails_is_kept_with_its_error_and_tried_again(
    running: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(payload: Any) -> Outcome:
        Cast.objects.filter(pk=running.pk).update(message="half done")
        raise LookupError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setitem(HANDLERS, "workflow_run", broken)
        assert tell(run_event(running, "in_progress")) == Outcome.PENDING
        row = stored()
        assert row.error == "LookupError: a bug of ours"
        assert row.due_at is not None
        assert row.applied_at is None
        assert again(running).message != "half done"
        work_off()
        row.refresh_from_db()
        assert (row.outcome, row.error, row.attempts) == (Outcome.PENDING, "LookupError: a bug of ours", 1)
    work_off()  # with the release that fixes it
    row = Delivery.objects.get(pk=row.pk)
    assert (row.outcome, row.error, row.due_at) == (Outcome.APPLIED, "", None)
    assert again(running).status_reason == "waiting_for_runner"


def test_repeat_of_a_delivery_that_failed_is_known(running: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(payload: Any) -> Outcome:
        raise LookupError

    monkeypatch.setitem(HANDLERS, "workflow_run", broken)
    body = run_event(running, "in_progress")
    tell(body, guid="0b989ba4-242f-11e5-81e1-c7b6966d2516")
    assert deliver("workflow_run", body, guid="0b989ba4-242f-11e5-81e1-c7b6966d2516").status_code == 200
    assert stored().due_at is not None


def test_worker_that_was_stopped_and_wakes_late_changes_nothing(running: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(payload: Any) -> Outcome:
        raise LookupError

    with monkeypatch.context() as patched:
        patched.setitem(HANDLERS, "workflow_run", broken)
        tell(run_event(running, "in_progress"))
    rows = inbox.DeliveryWork().rows()
    rows.update(due_at=timezone.now())
    [late] = rows.claim(limit=1, lease=dt.timedelta(seconds=-1))
    assert rows.recover() == 1
    assert work_off() == 1
    assert stored().outcome == Outcome.APPLIED
    monkeypatch.setitem(HANDLERS, "workflow_run", broken)
    late.give_back(inbox.DeliveryWork().step(late))
    row = stored()
    assert (row.outcome, row.error, row.due_at) == (Outcome.APPLIED, "", None)


# --- what can't be ours -----------------------------------------------------------------------------------


@pytest.fixture
def unanswered(make_cast: Callable[..., Cast]) -> Cast:
    """A cast whose dispatch GitHub has not answered yet, by an App whose name is known, of a spell with the token."""
    return make_cast(dispatched_at=None, spell={"tags_runs": True})


def of_us(cast: Cast, **run: Any) -> dict[str, Any]:
    return run_event(cast, "requested", **run)


def test_run_that_may_be_the_casts_waits_for_the_answer(unanswered: Cast) -> None:
    assert tell(of_us(unanswered)) == Outcome.PENDING


@pytest.mark.parametrize(
    "run",
    [
        {"title": "without a token"},
        {"title": "[cast:00000000-0000-7000-8000-000000000000]"},
        {"title": "{own} {own}"},
        {"title": "{own} [cast:00000000-0000-7000-8000-000000000000]"},
        {"path": ".github/workflows/other.yml"},
        {"actor": {"login": "mallory"}},
        {"event": "push"},
        {"created_at": "2020-01-01T00:00:00Z"},
    ],
    ids=lambda run: " ".join(run),
)
@pytest.mark.parametrize("lost", [False, True], ids=["answer to come", "answer lost"])
def test_run_that_cannot_be_the_casts_is_settled_at_once(unanswered: Cast, run: dict[str, Any], lost: bool) -> None:
    if lost:
        Cast.objects.update(answer_lost_at=timezone.now())
    title = run.get("title", "{own}").replace("{own}", unanswered.run_tag)
    assert tell(of_us(unanswered, **run | {"title": title})) == Outcome.NOT_OURS
    assert (stored().due_at, again(unanswered).run_key) == (None, None)


def test_jobs_of_a_run_that_is_nobodys_are_settled_with_it(unanswered: Cast) -> None:
    assert tell(job_event(unanswered, "queued", run_id=99)) == Outcome.PENDING
    assert tell(of_us(unanswered, run_id=99, actor={"login": "mallory"})) == Outcome.NOT_OURS
    assert set(Delivery.objects.values_list("outcome", "due_at")) == {(Outcome.NOT_OURS, None)}
    assert tell(job_event(unanswered, "completed", run_id=99)) == Outcome.NOT_OURS


def test_job_made_before_every_intent_is_nobodys(unanswered: Cast) -> None:
    assert tell(job_event(unanswered, "queued", created_at=made(unanswered, after=-600))) == Outcome.NOT_OURS


def test_what_was_taken_for_nobodys_is_applied_once_the_answer_names_it(unanswered: Cast) -> None:
    """An App that was renamed within the hour: its own runs look like a stranger's until the answer tells."""
    assert tell(of_us(unanswered, actor={"login": "renamed[bot]"})) == Outcome.NOT_OURS
    inbox.run_known(unanswered.run_scope, "42")
    Cast.objects.update(run_key=42)
    work_off()
    assert stored().outcome == Outcome.APPLIED


def test_strangers_run_with_a_copied_cast_id_is_never_bound(unanswered: Cast) -> None:
    for number, action in enumerate(ACTIONS, 60):
        tell(run_event(unanswered, action, run_id=number, actor={"login": "mallory"}))
    Cast.objects.update(answer_lost_at=timezone.now())
    work_off()
    assert again(unanswered).run_key is None
    assert tell(of_us(unanswered)) == Outcome.APPLIED
    assert again(unanswered).run_key == "42"
