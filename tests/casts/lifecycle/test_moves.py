"""Every move of a cast: guarded, numbered, and paid for once."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import threading
import uuid

import pytest
from django.db import IntegrityError, connections, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.errors import BudgetExceeded
from casts.lifecycle import binding, dispatching, ending, moves, observing, waking
from casts.models import FINAL, OPEN, Artifact, Cast, CastEvent, CastStatus
from casts.runtime import Job, JobStep, Observation, Run
from tests.casts.conftest import claim, history, ledger, nothing_left, step
from tests.casts.fake import jobs_of

RUNS = itertools.count(1_000)
ENDED = ("status", "status_reason", "message", "progress", "finished_at", "last_seq", "run_key")


def seen(cast, status, *, run_id=None, attempt=1, **fields):
    conclusion = "success" if status == "completed" else None
    told = {"jobs": jobs_of(status, conclusion, began=cast.created_at, attempt=attempt)} if status else {}
    return Observation(cast.run_scope, str(run_id or cast.run_key or 1), attempt, status, conclusion, **told | fields)


def end(cast, status=CastStatus.SUCCEEDED, *, charge=True):
    return ending.end(cast, status, reason="test", message="Ended by a test.", charge=charge)


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("charge", "entry"), [(True, "capture"), (False, "release")])
@pytest.mark.parametrize("status", FINAL)
def test_an_end_is_one_event_one_settlement_and_for_good(cast, status, charge, entry):
    held = claim(cast)
    assert end(held, status, charge=charge)
    cast.refresh_from_db()
    assert (cast.status, cast.progress, cast.final, cast.due_at, cast.lease_until) == (status, 100, True, None, None)
    assert cast.finished_at is not None
    assert history(cast) == ["accepted", "ended"]
    assert ledger(cast) == [("hold", 5), (entry, 5)]
    for again in FINAL:
        assert not end(held, again)
    assert history(cast) == ["accepted", "ended"]
    assert len(ledger(cast)) == 2


def test_an_end_without_the_claim_changes_nothing(cast):
    assert not end(cast)
    held = claim(cast)
    stale = Cast.objects.get(pk=cast.pk)
    stale.claim_number -= 1
    assert not end(stale)
    assert not Cast.objects.get(pk=cast.pk).final
    assert end(held)


@pytest.mark.parametrize(
    ("reason", "kept"), [("succeeded", (0, "")), ("run_failed", (0, "")), ("internal_error", (1, "a worker died"))]
)
def test_an_end_forgets_the_steps_that_failed_unless_they_are_why(cast, reason, kept):
    Cast.objects.filter(pk=cast.pk).update(failed_steps=1, failure="a worker died")
    assert ending.end(claim(cast), CastStatus.FAILED, reason=reason, message="Ended.", charge=False)
    cast.refresh_from_db()
    assert (cast.failed_steps, cast.failure) == kept


@pytest.mark.parametrize("final", FINAL)
def test_whoever_holds_an_ended_cast_can_move_it_no_more(cast, final):
    end(claim(cast), final)
    before, held = Cast.objects.filter(pk=cast.pk).values(*ENDED).get(), claim(cast)
    for status in FINAL:
        assert not end(held, status)
    dispatching.wait_for(held, reason="x", message="x")
    ending.note_cancel_asked(held, forced=False)
    dispatching.dispatched(held, Run("7"))
    assert not ending.request_cancel(held, reason="x")
    assert dispatching.intend_dispatch(held) is dispatching.Intent.LOST
    assert Cast.objects.filter(pk=cast.pk).values(*ENDED).get() == before
    assert (history(cast), len(ledger(cast))) == (["accepted", "ended"], 2)


def test_only_its_holder_sends_a_cast_and_only_while_it_is_queued_without_a_run_or_a_cancel(cast):
    held, row = claim(cast), Cast.objects.filter(pk=cast.pk)
    late = Cast.objects.select_related("spell", "account").get(pk=cast.pk)
    late.claim_number -= 1
    assert dispatching.intend_dispatch(late) is dispatching.Intent.LOST
    right = {"status": "queued", "run_key": None, "cancel_requested_at": None}
    for wrong in ({"status": "running"}, {"run_key": "7"}, {"cancel_requested_at": timezone.now()}):
        row.update(**wrong)
        assert dispatching.intend_dispatch(held) is dispatching.Intent.LOST, wrong
        row.update(**right)
    assert row.get().dispatch_attempts == 0
    assert dispatching.intend_dispatch(held) is dispatching.Intent.COMMITTED
    assert row.get().dispatch_attempts == 1


@pytest.mark.parametrize("status", [None, "queued", "in_progress", "completed"])
@pytest.mark.parametrize("final", FINAL)
def test_nothing_that_is_observed_later_changes_an_ended_cast(cast, status, final):
    observing.observe(cast.pk, seen(cast, "in_progress"))
    end(claim(cast), final)
    before = Cast.objects.filter(pk=cast.pk).values().get()
    jobs = (Job(1, "late", "in_progress", steps=(JobStep("late", 1, "in_progress"),)),)
    assert not observing.observe(cast.pk, seen(cast, status, jobs=jobs, url="https://github.example/other"))
    waking.wake(cast.pk)
    assert Cast.objects.filter(pk=cast.pk).values().get() == before
    assert history(cast) == ["accepted", "observed", "ended"]


def test_a_rerun_after_the_end_is_one_line_of_history_per_attempt(cast):
    observing.observe(cast.pk, seen(cast, "in_progress"))
    end(claim(cast), CastStatus.FAILED)
    before = ledger(cast)
    for status in ("requested", "in_progress", "completed", "in_progress"):
        observing.observe(cast.pk, seen(cast, status, attempt=2))
    observing.observe(cast.pk, seen(cast, "completed", attempt=1))
    observing.observe(cast.pk, seen(cast, "queued", attempt=3))
    cast.refresh_from_db()
    assert history(cast) == ["accepted", "observed", "ended", "rerun_on_github", "rerun_on_github"]
    assert (cast.status, cast.progress, cast.run_attempt) == (CastStatus.FAILED, 100, 3)
    assert ledger(cast) == before


def test_the_database_refuses_a_status_that_is_none_and_an_end_without_its_time(cast):
    for wrong in ({"status": "done"}, {"status": "failed"}, {"finished_at": timezone.now()}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Cast.objects.filter(pk=cast.pk).update(**wrong)


def test_every_status_is_open_or_final_and_a_final_one_leads_nowhere():
    assert set(OPEN) | set(FINAL) == set(CastStatus)
    assert not set(OPEN) & set(FINAL)
    for target, sources in moves.ALLOWED_FROM.items():
        assert not set(sources) & set(FINAL), target


# --- what is told ----------------------------------------------------------------------------------------------------


def test_an_event_is_the_whole_state_after_it(cast):
    observing.observe(cast.pk, seen(cast, "in_progress"))
    first, second = CastEvent.objects.order_by("seq")
    assert (first.data["status"], first.data["progress"], first.data["final"]) == ("queued", 0, False)
    assert (second.data["status"], second.data["status_reason"], second.data["final"]) == ("running", "running", False)
    assert second.data["cast_id"] == str(cast.pk)
    wanted = "cast_id spell_key status status_reason progress message step started_at finished_at duration_ms artifacts"
    assert {
        *wanted.split(),
        *["error", "final", "output", "summary", "annotations", "steps", "run_url", "charged_cents", "charge"],
    } == set(second.data)


def test_what_changes_nothing_public_makes_no_event(cast):
    observing.observe(cast.pk, seen(cast, "in_progress", updated_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    later = seen(cast, "in_progress", updated_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    assert not observing.observe(cast.pk, later)
    cast.refresh_from_db()
    assert cast.observation["updated_at"].startswith("2026-01-02")
    assert history(cast) == ["accepted", "observed"]


def test_waiting_is_said_once_and_again_only_when_the_reason_changes(cast):
    held = claim(cast)
    for message in ("Wait.", "Wait.", "Wait longer."):
        dispatching.wait_for(held, reason="rate_limited", message=message)
    cast.refresh_from_db()
    assert (cast.status, cast.status_reason, cast.message) == ("queued", "rate_limited", "Wait longer.")
    assert history(cast) == ["accepted", "waiting", "waiting"]


def test_a_message_of_any_length_fits(cast):
    held = claim(cast)
    dispatching.wait_for(held, reason="x", message="m" * 5000)
    dispatching.wait_for(held, reason="x", message="m" * 5000)
    ending.end(held, CastStatus.FAILED, reason="x", message="e" * 5000, charge=False)
    assert history(cast) == ["accepted", "waiting", "ended"]


def test_a_run_that_ends_wakes_a_worker_and_if_followed_one_that_begins_and_a_step_does_not(cast):
    def due():
        return Cast.objects.get(pk=cast.pk).due_at is not None

    Cast.objects.update(due_at=None, watched_until=timezone.now() + dt.timedelta(minutes=1))
    observing.observe(cast.pk, seen(cast, "queued"))
    assert not due()
    observing.observe(cast.pk, seen(cast, "in_progress"))
    assert due()
    Cast.objects.update(due_at=None)
    jobs = (Job(1, "job", "in_progress", steps=(JobStep("one", 1, "in_progress"),), runner="runner 1"),)
    assert observing.observe(cast.pk, seen(cast, None, jobs=jobs))
    assert not due()
    observing.observe(cast.pk, seen(cast, "completed"))
    assert due()
    assert history(cast) == ["accepted", "observed", "observed", "step", "run_finished"]


# --- whose run is it -------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(make_cast):
    """Make casts that were sent and don't know their runs, which GitHub's answer did not name."""

    def make(**given):
        cast, now = make_cast(**given), timezone.now()
        Cast.objects.filter(pk=cast.pk).update(dispatch_started_at=now, dispatched_at=now)
        cast.refresh_from_db()
        return cast

    return make


def titled(cast, title, run_id=None):
    return Observation(
        cast.run_scope,
        str(run_id or next(RUNS)),
        status="queued",
        title=title,
        url="https://github.example/r",
        workflow="cast.yml",
    )


@pytest.mark.usefixtures("runtime")
def test_a_title_that_carries_the_tag_belongs_to_its_cast(waiting):
    mine, other = waiting(), waiting()
    found = titled(mine, f"greet [cast:{mine.pk}] by Ada")
    assert binding.find_cast(found) == mine.pk
    assert binding.find_cast(found) == mine.pk  # known by its run from now on
    mine.refresh_from_db(), other.refresh_from_db()
    assert (mine.run_key, mine.run_url, other.run_key) == (found.run_key, "https://github.example/r", None)


@pytest.mark.parametrize(
    "title",
    [
        "",
        "greet",
        "cast:{id}",
        "[cast:{id}",
        "[cast:{id} ]",
        "[ cast:{id}]",
        "[CAST:{id}]",
        "[cast:{upper}]",
        "[cast:{hex}]",
        "[cast:{cut}]",
        "[cast:{id}0]",
        "[cast:x{id}]",
        "[cast:]",
    ],
)
def test_a_title_that_nearly_carries_it_belongs_to_nobody(waiting, title):
    cast = waiting()
    i = str(cast.pk)
    title = title.format(id=i, upper=i.upper() if i.upper() != i else "X", hex=cast.pk.hex, cut=i[:-1])
    assert binding.find_cast(titled(cast, title)) is None
    cast.refresh_from_db()
    assert cast.run_key is None


def test_a_token_of_a_cast_that_was_never_sent_opens_nothing(cast):
    assert binding.find_cast(titled(cast, cast.run_tag)) is None


def test_a_token_in_another_repository_opens_nothing(waiting):
    cast = waiting()
    for other in ("evil/spells", "demo/spells2", "demo/spell"):
        assert binding.find_cast(Observation(other, "5", status="queued", title=cast.run_tag)) is None
    cast.refresh_from_db()
    assert cast.run_key is None


@pytest.mark.usefixtures("runtime")
def test_a_repository_is_the_same_in_any_case(waiting):
    cast = waiting()
    assert binding.find_cast(Observation("Demo/Spells", "5", status="queued", title=cast.run_tag)) == cast.pk
    assert binding.find_cast(Observation("DEMO/SPELLS", "5", status="in_progress")) == cast.pk


def test_a_token_of_an_ended_cast_opens_nothing(waiting):
    cast = waiting()
    end(claim(cast), CastStatus.FAILED, charge=False)
    assert binding.find_cast(titled(cast, cast.run_tag)) is None


@pytest.mark.usefixtures("runtime")
def test_a_second_run_with_the_same_token_is_not_taken(waiting):
    cast = waiting()
    assert binding.find_cast(titled(cast, cast.run_tag, 5)) == cast.pk
    assert binding.find_cast(titled(cast, cast.run_tag, 6)) is None
    cast.refresh_from_db()
    assert cast.run_key == "5"


def test_no_cast_is_ever_given_another_ones_run(waiting):
    first, second = waiting(), waiting()
    assert binding.bind_run(first.pk, first.run_scope, "5", "")
    assert not binding.bind_run(second.pk, second.run_scope, "5", "")
    assert not binding.bind_run(first.pk, first.run_scope, "6", "")
    with pytest.raises(IntegrityError), transaction.atomic():
        Cast.objects.filter(pk=second.pk).update(run_key=5)
    second.refresh_from_db()
    assert second.run_key is None


def test_a_title_with_many_tokens_belongs_to_nobody(waiting):
    first, second = waiting(), waiting()
    stranger = f"[cast:{uuid.uuid4()}]"
    for title in (f"{stranger} {first.run_tag}", f"{first.run_tag} {second.run_tag}", 2 * stranger):
        assert binding.find_cast(titled(first, title)) is None
        assert not binding.may_be_ours(titled(first, title))
    first.refresh_from_db(), second.refresh_from_db()
    assert (first.run_key, second.run_key) == (None, None)


def test_a_title_tells_nothing_while_the_answer_may_still_name_the_run(cast):
    held = claim(cast)
    assert dispatching.intend_dispatch(held) is dispatching.Intent.COMMITTED
    assert binding.find_cast(titled(cast, cast.run_tag, 5)) is None
    assert binding.may_be_ours(titled(cast, cast.run_tag, 5))
    dispatching.dispatched(held, Run("6", "https://github.example/6"))
    assert binding.find_cast(titled(cast, cast.run_tag, 5)) is None
    assert not binding.may_be_ours(titled(cast, cast.run_tag, 5))
    cast.refresh_from_db()
    assert (cast.run_key, cast.run_guessed) == ("6", False)


@pytest.mark.parametrize("lost", [True, False], ids=["the answer was lost", "the answer named no run"])
def test_a_title_tells_once_no_answer_can_name_the_run(cast, lost):
    held = claim(cast)
    dispatching.intend_dispatch(held)
    dispatching.lose_answer(held) if lost else dispatching.dispatched(held, None)
    assert binding.find_cast(titled(cast, cast.run_tag, 5)) == cast.pk
    cast.refresh_from_db()
    assert (cast.run_key, cast.run_guessed) == ("5", True)


def test_a_run_that_its_runtime_says_is_not_the_casts_is_not_taken(waiting, runtime):
    cast = waiting()
    runtime.answers["may_own"] = False
    assert binding.find_cast(titled(cast, cast.run_tag)) is None
    assert not binding.may_be_ours(titled(cast, cast.run_tag))


def guessed(cast, *messages):
    """Have a cast take run 5 for its own, by its title, and hear such messages of it; return who was dispatching."""
    held = claim(cast)
    dispatching.intend_dispatch(held)
    dispatching.lose_answer(held)
    observing.observe_run(titled(cast, cast.run_tag, 5))
    for message in messages:
        observing.observe(cast.pk, Observation(cast.run_scope, "5", **message))
    return held


def test_a_late_answer_puts_the_run_that_it_names_in_the_place_of_a_guess(cast, runtime):
    job = Job(1, "job", "completed", "success", steps=(JobStep("one", 1, "completed", "success"),))
    held = guessed(cast, {"status": "completed", "conclusion": "success", "jobs": (job,)})
    collector = claim(cast)
    Artifact.objects.create(cast=cast, name="spell-result", remote_id=1)
    dispatching.dispatched(held, Run("6", "https://github.example/6"))
    cast.refresh_from_db()
    assert (cast.run_key, cast.run_url, cast.run_guessed) == ("6", "https://github.example/6", False)
    assert (cast.observation, cast.jobs, cast.run_finished_at, cast.started_at) == (None, [], None, None)
    assert (history(cast)[-1], cast.final, cast.progress) == ("run_corrected", False, 10)
    assert not cast.artifacts.exists()
    assert not end(collector, CastStatus.SUCCEEDED, charge=True)  # of a run that is not the cast's
    assert cast.due_at is not None
    runtime.answers["observe"] = Observation(cast.run_scope, "6", status="completed", conclusion="failure")
    step(cast), step(cast)
    assert (cast.status, cast.status_reason) == ("failed", "run_failed")


def test_an_answer_that_names_the_guessed_run_confirms_it(cast):
    held = guessed(cast)
    before = history(cast)
    dispatching.dispatched(held, Run("5", ""))
    cast.refresh_from_db()
    assert (cast.run_key, cast.run_guessed, history(cast)) == ("5", False, before)


def test_a_run_that_an_answer_named_is_never_replaced(cast):
    held = claim(cast)
    dispatching.intend_dispatch(held)
    dispatching.dispatched(held, Run("5", ""))
    dispatching.dispatched(held, Run("6", ""))
    cast.refresh_from_db()
    assert cast.run_key == "5"


def test_what_has_ended_keeps_the_run_it_ended_with(cast):
    held = guessed(cast)
    end(claim(cast), CastStatus.FAILED, charge=False)
    dispatching.dispatched(held, Run("6", ""))
    cast.refresh_from_db()
    assert (cast.run_key, cast.status) == ("5", "failed")


def test_a_named_run_that_another_cast_has_is_not_taken_from_it(cast, make_cast):
    other = make_cast()
    Cast.objects.filter(pk=other.pk).update(run_key=6)
    dispatching.dispatched(guessed(cast), Run("6", ""))
    cast.refresh_from_db()
    assert cast.run_key == "5"


def test_the_runs_of_two_repositories_may_have_one_number(waiting, make_spell):
    first, second = waiting(), waiting(spell=make_spell("far", repository="demo/other"))
    assert binding.bind_run(first.pk, "demo/spells", "5", "")
    assert binding.bind_run(second.pk, "demo/other", "5", "")


def test_a_run_without_a_token_may_be_ours_while_an_answer_may_name_it(make_cast, make_spell, cast):
    assert not binding.may_be_ours(titled(cast, "x"))
    dispatching.intend_dispatch(held := claim(cast))
    assert binding.may_be_ours(titled(cast, "x"))
    assert not binding.may_be_ours(Observation("other/place", "1", status="queued"))
    dispatching.dispatched(held, Run("5", ""))
    assert not binding.may_be_ours(titled(cast, "x"))
    silent = make_cast()
    dispatching.intend_dispatch(held := claim(silent))
    dispatching.lose_answer(held)
    assert not binding.may_be_ours(titled(silent, "x"))  # only a tag can tell now
    told = make_cast(spell=make_spell("told", tags_runs=True))
    dispatching.intend_dispatch(claim(told))
    assert not binding.may_be_ours(titled(told, "x"))  # its runs carry the tag


def test_a_job_may_be_ours_while_a_sent_cast_of_its_repository_has_no_run(waiting, cast):
    told = Observation(cast.run_scope, "1", jobs=(Job(1, "job", "queued"),))
    assert not binding.may_be_ours(told)
    sent = waiting()
    assert binding.may_be_ours(told)
    binding.bind_run(sent.pk, sent.run_scope, "5", "")
    assert not binding.may_be_ours(told)


def test_a_spell_is_known_to_carry_the_tag_once_its_own_was_seen(cast, spell):
    def carries():
        spell.refresh_from_db()
        return spell.tags_runs

    observing.observe(cast.pk, seen(cast, "queued", title=f"[cast:{uuid.uuid4()}]"))
    observing.observe(cast.pk, seen(cast, "pending", title="greet"))
    assert not carries()
    observing.observe(cast.pk, seen(cast, "in_progress", title=f"greet {cast.run_tag}"))
    assert carries()


# --- any order, to the end -------------------------------------------------------------------------------------------


@pytest.mark.django_db
@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_everything_ends_once_and_is_paid_once(data, seed, make_cast, runtime):
    cast = make_cast()
    Cast.objects.filter(pk=cast.pk).update(dispatch_started_at=timezone.now())
    run_id = next(RUNS)
    binding.bind_run(cast.pk, cast.run_scope, str(run_id), "")
    ran = (Job(1, "job", "completed", "success", steps=(JobStep("one", 1, "completed", "success"),)),)
    going = (Job(1, "job", "in_progress", steps=(JobStep("one", 1, "in_progress"),)),)
    messages = [
        Observation(cast.run_scope, str(run_id), status="queued"),
        Observation(cast.run_scope, str(run_id), jobs=going),
        Observation(cast.run_scope, str(run_id), status="in_progress"),
        Observation(cast.run_scope, str(run_id), jobs=ran),
        Observation(cast.run_scope, str(run_id), status="completed", conclusion="success", jobs=ran),
    ]
    runtime.answers["observe"] = messages[-1]
    chance = random.Random(seed)
    repeated = messages + chance.choices(messages, k=data.draw(st.integers(0, 5)))
    chance.shuffle(repeated)
    for one in repeated:
        observing.observe(cast.pk, one)
        if data.draw(st.booleans()):
            step(cast)
    step(cast)
    assert (cast.status, cast.progress, cast.message) == ("succeeded", 100, "Done.")
    assert cast.jobs[0]["status"] == "completed"
    assert ledger(cast) == [("hold", 5), ("capture", 5)]
    kinds = history(cast)
    assert kinds.count("ended") == kinds.count("run_finished") == 1
    assert kinds[-1] == "ended"


# --- races -----------------------------------------------------------------------------------------------------------


def together(count, work):
    """Run `work(i)` in `count` threads at one moment; return what they returned or raised."""
    outcomes, gate = [], threading.Barrier(count)

    def one(i):
        try:
            gate.wait(10)
            outcomes.append(work(i))
        except Exception as exc:
            outcomes.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_many_ends_at_once_are_one_end(cast):
    held = claim(cast)
    statuses = list(FINAL) * 3
    outcomes = together(9, lambda i: end(Cast.objects.get(pk=held.pk), statuses[i], charge=bool(i % 2)))
    assert sorted(map(str, outcomes)) == ["False"] * 8 + ["True"]
    assert history(cast) == ["accepted", "ended"]
    assert ledger(cast)[0][0] == "hold"
    assert len(ledger(cast)) == 2


@pytest.mark.django_db(transaction=True)
def test_many_observations_at_once_number_their_events_without_a_gap(cast):
    steps = [JobStep(f"step {i}", i, "completed" if i < 5 else "in_progress") for i in range(1, 6)]
    shown = [
        Observation(cast.run_scope, "1", jobs=(Job(1, "job", "in_progress", steps=tuple(steps[:n])),))
        for n in range(1, 6)
    ]
    outcomes = together(10, lambda i: observing.observe(cast.pk, shown[i % 5]))
    assert all(isinstance(outcome, bool) for outcome in outcomes), outcomes
    cast.refresh_from_db()
    assert len(cast.jobs[0]["steps"]) == 5
    assert set(history(cast)[1:]) <= {"observed", "step"}


@pytest.mark.django_db(transaction=True)
def test_one_run_offered_to_many_casts_at_once_goes_to_one(make_cast):
    casts = [make_cast() for _ in range(6)]
    outcomes = together(6, lambda i: binding.bind_run(casts[i].pk, casts[i].run_scope, "77", ""))
    assert sorted(map(str, outcomes)) == ["False"] * 5 + ["True"]
    assert Cast.objects.filter(run_key=77).count() == 1


@pytest.mark.django_db(transaction=True)
def test_twenty_casts_at_once_on_the_last_cents_pass_no_cap(api_key, make_cast):
    api_key.account.monthly_cap_cents = 35
    api_key.account.save()
    outcomes = together(20, lambda i: make_cast())
    assert sum(isinstance(outcome, Cast) for outcome in outcomes) == 7
    assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 13
    assert Cast.objects.count() == CastEvent.objects.count() == 7
    period = api_key.account.budget_periods.get()
    assert (period.held_cents, period.entries.count()) == (35, 7)


def test_a_cast_that_can_not_be_paid_leaves_nothing(make_cast, api_key, make_spell):
    make_cast()
    dear = make_spell("dear", price_cents=9_996)
    with nothing_left(), pytest.raises(BudgetExceeded):
        make_cast(spell=dear)
    assert api_key.account.budget_periods.get().held_cents == 5
