"""What a cast comes to: by the minutes that its run worked, by what the run reports, at an account's own price."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import keys
from accounts.models import Account
from casts import casting, disclosure, pricing
from casts.lifecycle import operators
from casts.lifecycle.run_time import run_time
from casts.models import AccountPrice, Cast, CastStatus
from casts.runtime import Failure, Job, RemoteArtifact
from core.times import stamp
from tests.casts.client import Api
from tests.casts.conftest import ledger, step
from tests.casts.execution.test_artifacts import packed
from tests.casts.execution.test_steps import limits, seen
from tests.spells import unstored_spell

__all__ = ["limits"]  # a fixture that these tests use

START = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
BY_MINUTE: dict[str, Any] = {"price_kind": "per_minute", "per_minute_cents": 5, "price_cents": 100}
REPORTED: dict[str, Any] = {"price_kind": "reported", "price_cents": 50}


def at(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else START + dt.timedelta(seconds=seconds)


# --- run time --------------------------------------------------------------------------------------------------------


def job(began=None, ended=None, *, taken=None, runner="runner 1", attempt=1, number=1):
    """A job as a cast keeps it: queued or `taken` by a runner, its first step `began`, all in seconds."""
    status = "completed" if ended is not None else "in_progress" if began is not None else "queued"
    steps = [{"status": status, "conclusion": None, "started_at": stamp(at(began))}] if began is not None else []
    times = {"started_at": stamp(at(began if taken is None else taken)), "completed_at": stamp(at(ended))}
    return (
        {"id": number, "name": f"job {number}", "status": status, "attempt": attempt, "steps": steps}
        | times
        | {"runner": runner if began is not None else ""}
    )


def a_cast(*jobs, completed=None, attempt=1, made=None, learnt=10_000.0, cancel=None, started=None, kept=None, cents=0):
    status = "completed" if completed is not None else "in_progress"
    observation = {"attempt": attempt, "status": status, "run_started_at": stamp(at(made))}
    return Cast(
        created_at=START,
        jobs=list(jobs),
        observation=observation | {"updated_at": stamp(at(completed))},
        run_finished_at=at(learnt) if completed is not None else None,
        cancel_requested_at=at(cancel),
        started_at=at(started),
        price=kept,
        cost_cents=cents,
    )


@pytest.mark.parametrize(
    ("cast", "seconds"),
    [
        (a_cast(job(), completed=900), None),
        (a_cast(job(100, 160, taken=98), completed=170), 60),
        # Waiting for a runner or for approval, before the first job or between two, is no run time.
        (a_cast(job(100, 160), job(5000, 5030, number=2), completed=5031), 90),
        (a_cast(job(100, 200), job(150, 250, number=2), job(240, 245, number=3), completed=250), 150),
        (a_cast(job(100, 100), completed=100), 0),
        # A runner's clock that is an hour behind, or ahead, of GitHub's.
        (a_cast(job(-3500, 160, taken=100), completed=160), 60),
        (a_cast(job(3700, 160, taken=100), completed=160), 60),
        # GitHub's clock, an hour ahead of ours or behind it, makes no difference.
        (a_cast(job(3700, 3760), completed=3760), 60),
        (a_cast(job(-3500, -3440), completed=-3440), 60),
        # Never more than the time for which the cast has been there.
        (a_cast(job(0, 90_000), completed=90_000, learnt=30), 30),
        # Of a second attempt its own work.
        (a_cast(job(100, 160), job(520, 550, number=2, attempt=2), completed=550, attempt=2, made=500), 30),
        (a_cast(job(100, 160), completed=510, attempt=2, made=500), 0),
        # An end that GitHub did not tell: that of the run, or when the cast was to be cancelled.
        (a_cast(job(100), completed=140), 40),
        (a_cast(job(100), cancel=130), 30),
    ],
)
def test_run_time_is_the_time_in_which_a_job_was_at_work(cast, seconds):
    worked = run_time(cast)
    assert (None if worked is None else worked.total_seconds()) == seconds


moments = st.one_of(st.none(), st.integers(-5000, 5000))
jobs = st.lists(st.builds(job, moments, moments, taken=moments, attempt=st.integers(1, 2), number=st.integers(1, 3)))
kinds = st.sampled_from(["flat", "per_minute", "reported"])
reports = st.one_of(st.none(), st.builds(pricing.Report, st.one_of(st.none(), st.integers(0, 10**30))))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws slowly
@given(jobs, moments, st.integers(1, 2), moments, kinds, st.integers(0, 200), st.booleans(), reports)
def test_no_cast_comes_to_more_than_is_held_whatever_is_known_of_its_run(
    rows, completed, attempt, made, kind, most, due, report
):
    price = {"kind": kind, "per_minute_cents": 5 if kind == "per_minute" else None, "max_cents": most}
    cast = a_cast(*rows, completed=completed, attempt=attempt, made=made, cancel=completed, cents=most)
    cast.price = price | {"for_account": False}
    found = pricing.charge(cast, due=due, report=report)
    assert 0 <= found.cents <= most
    assert due or found.cents == 0
    if kind == "flat":
        assert found.cents == (most if due else 0)
    else:
        assert found.how is not None
        counted = found.how["minutes"] if kind == "per_minute" else found.how["reported_cents"]
        assert found.cents == (min(most, (counted or 0) * (5 if kind == "per_minute" else 1)) if due else 0)
        worked = run_time(cast)
        assert (
            kind != "per_minute"
            or not due
            or counted == max(1, -(-(worked or dt.timedelta()) // dt.timedelta(minutes=1)))
        )


@pytest.mark.parametrize(
    ("seconds", "minutes", "cents"), [(0, 1, 5), (1, 1, 5), (60, 1, 5), (61, 2, 10), (1140, 19, 95), (9000, 150, 100)]
)
def test_a_started_minute_is_a_whole_one(seconds, minutes, cents):
    kept = {"kind": "per_minute", "per_minute_cents": 5, "max_cents": 100, "for_account": False}
    found = pricing.charge(a_cast(job(10, 10 + seconds), completed=9900, kept=kept), due=True)
    assert found.how is not None
    assert (found.cents, found.how["run_seconds"], found.how["minutes"]) == (cents, seconds, minutes)
    assert (found.how["note"] is not None) == (minutes * 5 > 100)


# --- reports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "rest", "cents"),
    [
        ({"a": 1, "charge_cents": 0}, {"a": 1}, 0),
        ({"charge_cents": 7}, {}, 7),
        ({"charge_cents": 7.0}, {}, None),
        ({"charge_cents": -1}, {}, None),
        ({"charge_cents": True}, {}, None),
        ({"charge_cents": "7"}, {}, None),
        ({"charge_cents": None}, {}, None),
        ({"a": {"charge_cents": 7}}, {"a": {"charge_cents": 7}}, None),
        ([{"charge_cents": 7}], [{"charge_cents": 7}], None),
    ],
)
def test_a_report_is_a_whole_number_at_the_top_of_the_result(output, rest, cents):
    found, report = pricing.report_in(output)
    assert (found, report.cents) == (rest, cents)
    assert bool(report.why) == (cents is None)


# --- ends ------------------------------------------------------------------------------------------------------------


def run(cast, runtime, conclusion="success", *, result=None, began=True, seconds=70, failure=None):
    """Have a cast's run work for some seconds, and end."""
    now = cast.created_at
    if began:
        told = (Job(1, "job", "completed", conclusion, 1, now, now + dt.timedelta(seconds=seconds), runner="r"),)
    else:
        told = (Job(1, "job", "completed", "skipped", started_at=now),)
    runtime.answers["observe"] = seen("completed", conclusion, jobs=told, run_started_at=now)
    runtime.answers["failure"] = failure or Failure()
    if result is not None:
        content = packed(**{"result.json": result})
        runtime.answers["artifacts"] = [RemoteArtifact(1, "spell-result", len(content))]
        runtime.answers["download"] = content
    step(cast), step(cast), step(cast)
    assert cast.final


FREE = {"charge_failed_runs": False}
TIMED_OUT = Failure("job", "step", timed_out=True)
SCHEMA = {"output_schema": {"type": "object", "additionalProperties": False}}


@pytest.mark.parametrize(
    ("price", "how", "asked", "captured", "unknown"),
    [
        (BY_MINUTE, {}, "", 10, False),
        (BY_MINUTE, {"seconds": 2000}, "", 100, False),
        (BY_MINUTE, {"began": False}, "", 0, False),
        (BY_MINUTE, {"conclusion": "failure"}, "", 10, False),
        (BY_MINUTE | FREE, {"conclusion": "failure"}, "", 0, False),
        (BY_MINUTE, {"conclusion": "cancelled", "failure": TIMED_OUT}, "", 10, False),
        (BY_MINUTE, {"conclusion": "failure", "began": False}, "", 0, False),
        (BY_MINUTE, {"conclusion": "cancelled"}, "", 0, False),
        (BY_MINUTE, {"conclusion": "cancelled"}, "timed_out", 10, False),
        (BY_MINUTE | FREE, {"conclusion": "cancelled"}, "timed_out", 0, False),
        (BY_MINUTE | FREE, {"conclusion": "cancelled"}, "cancelled_by_caller", 10, False),
        (BY_MINUTE, {"conclusion": "cancelled"}, "cancelled_by_operator", 0, False),
        (BY_MINUTE, {"conclusion": "cancelled", "began": False}, "cancelled_by_caller", 0, False),
        ({}, {"conclusion": "cancelled"}, "cancelled_by_caller", 0, False),
        (REPORTED, {"result": '{"charge_cents": 7}'}, "", 7, False),
        (REPORTED | SCHEMA, {"result": '{"charge_cents": 7}'}, "", 7, False),
        (REPORTED | SCHEMA, {"result": '{"charge_cents": 7, "more": 1}'}, "", 7, False),  # output_invalid
        (REPORTED | SCHEMA | FREE, {"result": '{"charge_cents": 7, "more": 1}'}, "", 0, False),
        (REPORTED, {"result": '{"charge_cents": 700}'}, "", 50, False),
        (REPORTED, {"result": '{"charge_cents": 7.5}'}, "", 0, True),
        (REPORTED, {"result": '{"words": 3}'}, "", 0, True),
        (REPORTED, {"result": "not JSON"}, "", 0, True),
        (REPORTED, {}, "", 0, True),
        (REPORTED, {"began": False}, "", 0, False),
        (REPORTED, {"conclusion": "failure", "result": '{"charge_cents": 7}'}, "", 7, False),
        (REPORTED, {"conclusion": "failure", "result": '{"charge_cents": "7"}'}, "", 0, True),
        (REPORTED, {"conclusion": "failure"}, "", 0, False),
        (REPORTED, {"conclusion": "cancelled", "result": '{"charge_cents": 7}'}, "cancelled_by_caller", 0, False),
        (REPORTED, {"conclusion": "cancelled", "result": '{"charge_cents": 7}'}, "timed_out", 7, False),
    ],
)
def test_every_end_takes_what_it_came_to_and_gives_back_the_rest(
    make_cast, make_spell, runtime, clock, price, how, asked, captured, unknown
):
    spell = make_spell("priced", timeout_seconds=10**6, **price)
    cast = make_cast(spell=spell)
    held = cast.cost_cents
    clock.forward(seconds=2 * how.get("seconds", 70))
    if asked:
        step(cast)
        Cast.objects.filter(pk=cast.pk).update(cancel_requested_at=clock.now, cancel_reason=asked)
    run(cast, runtime, **how)
    assert (cast.charged_cents, cast.charge_unknown) == (captured, unknown), (cast.status_reason, cast.charge)
    moved = [("hold", held), ("capture", captured), ("release", held - captured)]
    assert ledger(cast) == [(kind, cents) for kind, cents in moved if cents]
    told = cast.events.get(kind="ended").data
    assert (told["charged_cents"], told["charge"]) == (captured, pricing.how_charged(cast))
    assert "charge_cents" not in str(cast.output)


def test_a_cast_is_charged_by_the_price_it_was_accepted_at_whatever_becomes_of_its_spell(
    make_cast, make_spell, runtime, clock
):
    spell = make_spell("priced", **BY_MINUTE)
    cast = make_cast(spell=spell)
    spell.price_kind, spell.per_minute_cents, spell.price_cents = "flat", None, 3
    spell.save()
    clock.forward(seconds=100)
    run(cast, runtime)
    assert (cast.spell_version, cast.cost_cents, cast.charged_cents) == (1, 100, 10)


def test_what_was_never_sent_says_its_kind_of_price_when_it_is_cancelled(api, make_cast, make_spell):
    cast = make_cast(spell=make_spell("priced", **BY_MINUTE))
    shown = api.post(f"/casts/{cast.pk}/cancel").json()
    assert (shown["charged_cents"], shown["charge"]["kind"], shown["charge"]["minutes"]) == (0, "per_minute", None)
    assert ledger(cast) == [("hold", 100), ("release", 100)]


def test_the_note_to_a_charge_tells_callers_no_hidden_name_and_viewers_nothing_of_the_result(
    make_cast, make_spell, runtime
):
    own = {"repository": "demo/secrets", "result_artifact": "demo-secrets", "result_file": "demo/secrets.json"}
    cast = make_cast(spell=make_spell("priced", show_run=False, **own, **REPORTED))
    run(cast, runtime)
    data = cast.events.get(kind="ended").data
    assert "demo/secrets.json" in data["charge"]["note"]
    shown = disclosure.public(cast, data)
    assert "left no ***.json" in shown["charge"]["note"]
    assert disclosure.status_only(shown)["charge"]["note"] == pricing.NOTHING_REPORTED


def test_a_viewers_events_of_before_there_were_charges_can_still_be_read(make_cast):
    data = make_cast().events.get().data
    del data["charge"]
    assert disclosure.status_only(data)["charge"] is None


# --- an account's own price ------------------------------------------------------------------------------------------


def test_an_account_has_its_own_price_from_then_on_and_nobody_else(api, account, spell, make_spell, runtime, clock):
    other = Api(keys.create(Account.objects.create(name="Other"), name="k", scopes=["spells:read", "casts:write"])[1])
    before = Cast.objects.get(pk=api.post("/cast", {"spell_key": "greet"}).json()["cast_id"])
    AccountPrice.objects.create(spell=make_spell("unrelated"), account=account, price_cents=77)
    own = AccountPrice.objects.create(spell=spell, account=account, **BY_MINUTE)
    mine = {"kind": "per_minute", "per_minute_cents": 5, "max_cents": 100, "for_account": True}
    everybodys = {"kind": "flat", "per_minute_cents": None, "max_cents": 5, "for_account": False}
    for client, price in ((api, mine), (other, everybodys)):
        listed = {one["spell_key"]: one for one in client.get("/spells").json()["results"]}
        for shown in (listed["greet"], client.get("/spells/greet").json()):
            assert (shown["price"], shown["price_cents"]) == (price, price["max_cents"])
    assert api.get("/spells/greet?version=1").json()["price"] == everybodys
    made = api.post("/cast", {"spell_key": "greet"}).json()
    assert (made["price"], made["cost_cents"]) == (mine, 100)
    assert api.post("/cast", {"spell_key": "unrelated"}).json()["cost_cents"] == 77
    cast = Cast.objects.get(pk=made["cast_id"])
    own.delete()
    assert api.post(f"/casts/{before.pk}/cancel").json()["price"] == everybodys
    clock.forward(seconds=100)
    run(cast, runtime)
    assert ledger(cast) == [("hold", 100), ("capture", 10), ("release", 90)]
    assert api.get(f"/casts/{cast.pk}").json()["price"] == mine
    assert api.post(f"/casts/{cast.pk}/retry").json()["price"] == everybodys


def test_an_accounts_own_price_is_read_with_the_spell(api_key, spell):
    AccountPrice.objects.create(spell=spell, account=api_key.account, price_cents=0)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        found = casting.castable_by(api_key.account_id, api_key, "greet")
    assert len(asked) == 1
    assert pricing.Price.of(found) == pricing.Price("flat", None, 0, for_account=True)


@pytest.mark.parametrize("takes", [True, False], ids=["the account's", "the spell's"])
def test_a_report_is_never_output_whoever_has_the_price_that_it_is_for(make_cast, make_spell, account, runtime, takes):
    spell = make_spell("priced", **({} if takes else REPORTED))
    own = REPORTED if takes else {"price_cents": 3}
    spell.own_price = AccountPrice.objects.create(spell=spell, account=account, **own)
    cast = make_cast(spell=spell)
    run(cast, runtime, result='{"charge_cents": 7, "more": 1}')
    assert (cast.output, cast.charged_cents) == ({"more": 1}, 7 if takes else 3)


# --- what may be set -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"per_minute_cents": 5}, "per_minute_cents"),
        ({"price_kind": "per_minute", "price_cents": 9}, "per_minute_cents"),
        ({"price_kind": "per_minute", "price_cents": 9, "per_minute_cents": 10}, "per_minute_cents"),
        ({"price_kind": "per_minute", "price_cents": 0, "per_minute_cents": 1}, "price_cents"),
        ({"price_kind": "reported", "price_cents": 0}, "price_cents"),
        (REPORTED | {"result_artifact": ""}, "price_kind"),
        (REPORTED | {"output_schema": {"type": "object", "required": ["charge_cents"]}}, "output_schema"),
        (REPORTED | {"output_schema": {"properties": {"charge_cents": True}}}, "output_schema"),
        (BY_MINUTE, ""),
        (REPORTED | {"output_schema": {"type": "object"}}, ""),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_at_the_field_that_is_wrong(fields, wrong):
    spell = unstored_spell(key="greet", **fields)
    found: dict[str, Any] = {}
    try:
        spell.clean()
    except ValidationError as exc:
        found = exc.message_dict
    assert list(found) == ([wrong] if wrong else [])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"result_artifact": ""}, "result_artifact"),
        ({"output_schema": {"type": "object", "required": ["charge_cents"]}}, "output_schema"),
    ],
)
def test_where_an_account_pays_what_runs_report_its_spell_and_its_price_see_to_it_that_they_can(
    make_spell, account, fields, field
):
    wrong = make_spell("wrong", **fields)
    with pytest.raises(ValidationError) as told:
        AccountPrice(spell=wrong, account=account, **REPORTED).clean()
    assert list(told.value.message_dict) == ["price_kind"]
    spell = make_spell("right")
    AccountPrice.objects.create(spell=spell, account=account, **REPORTED)
    for name, value in fields.items():
        setattr(spell, name, value)
    with pytest.raises(ValidationError) as told:
        spell.clean()
    assert list(told.value.message_dict) == [field]


def test_an_operator_leaves_uncharged_what_did_not_report_and_nothing_else(make_cast, make_spell, runtime):
    silent, paid = (make_cast(spell=make_spell(name, **REPORTED)) for name in ("silent", "paid"))
    run(silent, runtime, result="{}")
    run(paid, runtime, result='{"charge_cents": 7}')
    assert operators.leave_uncharged([silent.pk, paid.pk], by="op") == [silent.pk]
    silent.refresh_from_db()
    assert (silent.charge_unknown, silent.status) == (False, CastStatus.SUCCEEDED)
    assert silent.events.get(kind="left_uncharged").by == "op"
