"""Everything that can happen to casts and their money, in any order, against what must be true after each of them."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import os
from typing import Any

import hypothesis
import pytest
from django.core.management import call_command
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts import credit, keys, open_casts
from accounts.models import Account, ApiKey, BudgetPeriod, LedgerEntry, month_of
from casts.lifecycle import binding, dispatching, ending, observing, slots
from casts.models import Cast, CastEvent
from casts.runtime import DispatchRefused, Job, NotNow, Observation, OutcomeUnknown, Run, RunGone
from tests.casts.client import Api
from tests.casts.conftest import Clock, claim, step
from tests.casts.fake import RUN_IDS, FakeRuntime, jobs_of
from tests.spells import stored_spell

EXAMPLES = int(os.environ.get("SPELL_MACHINE_EXAMPLES", "15"))
STEPS = 30
NUMBERS = itertools.count(1)
WEEK = dt.timedelta(days=7)

which = st.integers(0, 50)  # of the casts made so far, or of the open ones
idempotency_keys = st.sampled_from([None, None, "k-1", "k-2"])
jobs = st.sampled_from([None, "ran", "ran", "waits", "refused"])
statuses = st.sampled_from(["queued", "waiting", "in_progress", "in_progress", "completed", "completed", None])
conclusions = st.sampled_from(["success", "success", "failure", "cancelled", "timed_out", "startup_failure"])
PUBLIC = ("status", "status_reason", "message", "progress", "error", "output", "finished_at", "cost_cents", "run_key")


class Money(RuleBasedStateMachine):
    """One account with two keys and five spells; `runtime` and `clock` are the test's."""

    runtime: FakeRuntime
    clock: Clock

    @initialize(
        cap=st.sampled_from([None, 20, 60]),
        max_running=st.sampled_from([None, 2]),
        paid=st.sampled_from([None, None, 18, 60]),
    )
    def begin(self, cap, max_running, paid):
        name = f"machine-{next(NUMBERS)}"
        self.account = Account.objects.create(name=name, monthly_cap_cents=cap, max_running=max_running)
        made = [keys.create(self.account, name=f"{name}-{i}", scopes=["casts:write", "budget:write"]) for i in "ab"]
        self.keys: list[tuple[ApiKey, Api]] = [(key, Api(secret)) for key, secret in made]
        common: dict[str, Any] = {
            "repository": "demo/spells",
            "workflow_file": "cast.yml",
            "timeout_seconds": 600,
            "ttl_seconds": 7200,
        }
        kinds: list[tuple[int, dict[str, Any]]] = [
            (5, {"max_running": 1}),
            (13, {"charge_failed_runs": False}),
            (0, {"tags_runs": True}),
            (15, {"price_kind": "per_minute", "per_minute_cents": 2}),
            (7, {"price_kind": "reported"}),
        ]
        self.spells = [
            stored_spell(key=f"{name}.{i}", name=name, price_cents=price, **fields, **common)
            for i, (price, fields) in enumerate(kinds)
        ]
        self.caps = {("account", ""): cap}
        self.booked: dict[str, int] | None = None  # by source; None: the account is not billed
        if paid is not None:
            self.begin_billing()
            self.book("topup", paid, 0)
        self.answers: dict[tuple[str, str], tuple[object, dict[str, Any], dt.datetime]] = {}
        self.ends: dict[object, tuple[Any, ...]] = {}
        self.ceilings: dict[int, int | None] = {}
        self.started: dict[object, int] = {}
        self.began: set[object] = set()  # those of whose jobs we ever said that one ran

    # --- what a caller does ------------------------------------------------------------------------------------

    @rule(spell=st.integers(0, 4), key=st.integers(0, 1), name=st.integers(0, 1), once=idempotency_keys)
    def cast(self, spell, key, name, once):
        chosen = self.spells[spell]
        body = {"spell_key": chosen.key, "input": {"name": name}}
        self.accepted("/cast", "cast", body, 201, chosen, key, once)

    @rule(number=which, key=st.integers(0, 1), once=idempotency_keys)
    def retry(self, number, key, once):
        if (old := self.any_cast(number)) is not None:
            route = f"retry:{old.pk}"
            self.accepted(f"/casts/{old.pk}/retry", route, None, 202, old.spell, key, once, refused=not old.final)

    def accepted(self, path, route, body, status, spell, key, once, *, refused=False):
        """Ask for a cast and check the answer against what the caps, the keys and the ledger say it must be."""
        api_key, api = self.keys[key]
        before = self.rows()
        short = any(self.is_short(scope, spell, api_key) for scope in self.caps) or self.has_no_credit_for(spell)
        headers = {"Idempotency_Key": once} if once else {}
        answer = api.post(path, body, **headers)
        known = self.answers.get((route, once)) if once else None
        if known and self.clock.now - known[2] < WEEK:
            if known[0] == body:
                assert (answer.status_code, answer.json()) == (status, known[1])
                assert answer["Idempotent-Replayed"] == "true"
            else:
                assert answer.status_code == 422
            assert self.rows() == before
        elif refused or short:
            assert answer.status_code == (409 if refused else 402), answer.content
            assert self.rows() == before
        else:
            assert answer.status_code == status, answer.content
            assert "Idempotent-Replayed" not in answer.headers
            if once:
                self.answers[route, once] = body, answer.json(), self.clock.now
            assert len(self.rows()[0]) == len(before[0]) + 1

    @rule(number=which, key=st.integers(0, 1))
    def cancel(self, number, key):
        if (cast := self.any_cast(number)) is not None:
            sent = cast.dispatch_started_at is not None
            answer = self.keys[key][1].post(f"/casts/{cast.pk}/cancel")
            assert answer.status_code == 202
            assert answer.json()["final"] == (cast.final or not sent)

    @rule(
        scope=st.sampled_from(["account", "key", "spell"]),
        number=st.integers(0, 1),
        cents=st.sampled_from([None, 0, 5, 18, 60]),
    )
    def set_cap(self, scope, number, cents):
        key, spell = self.keys[number][0], self.spells[number]
        ref = {"account": "", "key": str(key.pk), "spell": spell.key}[scope]
        more = {"account": {}, "key": {"key_id": key.pk}, "spell": {"spell_key": spell.key}}[scope]
        answer = self.keys[0][1].call("PATCH", "/budget", {"cap_cents": cents, "scope": scope, **more})
        assert answer.status_code == 200, answer.content
        if cents is None and scope != "account":
            self.caps.pop((scope, ref), None)
        else:
            self.caps[scope, ref] = cents
        for period in BudgetPeriod.objects.filter(account=self.account, scope=scope, ref=ref):
            if period.month == month_of(self.clock.now):
                self.ceilings[period.pk] = None if cents is None else max(cents, period.used_cents)

    @rule()
    def begin_billing(self):
        credit.begin_billing(self.account)
        if self.booked is None:
            self.booked = {}

    @precondition(lambda self: self.booked is not None)
    @rule(kind=st.sampled_from(["topup", "refund", "dispute"]), cents=st.integers(1, 40), number=st.integers(0, 5))
    def book(self, kind, cents, number):
        signed, source = cents if kind == "topup" else -cents, f"{self.account.name}:{kind}:{number}"
        assert self.booked is not None
        assert credit.book(self.account.pk, kind, signed, source) == (source not in self.booked)
        self.booked.setdefault(source, signed)

    # --- what workers, GitHub and time do ----------------------------------------------------------------------

    @rule(
        number=which,
        start=st.sampled_from(["run", "run", "run", "refused", "not now", "unknown"]),
        found=st.booleans(),
        status=statuses,
        conclusion=conclusions,
        jobs=jobs,
        gone=st.sampled_from([None, None, None, RunGone(), NotNow("Wait.")]),
    )
    def step(self, number, start, found, status, conclusion, jobs, gone):
        cast = self.open_cast(number)
        if cast is None:
            return
        self.runtime.answers = {
            "start": lambda cast: self.start(cast, start),
            "find": (lambda cast: self.seen(cast, "queued", None)) if found else None,
            "observe": gone or (lambda cast: self.seen(cast, status, conclusion, jobs=jobs)),
        }
        step(cast)

    def start(self, cast, how):
        match how:
            case "refused":
                raise DispatchRefused("No.")
            case "not now":
                raise NotNow("Wait.", reason="rate_limited")
            case "unknown":
                raise OutcomeUnknown("timeout")
        self.started[cast.pk] = self.started.get(cast.pk, 0) + 1
        return Run(str(next(RUN_IDS)))

    @rule(
        number=which,
        status=statuses,
        conclusion=conclusions,
        jobs=jobs,
        attempt=st.integers(1, 2),
        any_cast=st.booleans(),
    )
    def webhook(self, number, status, conclusion, jobs, attempt, any_cast):
        cast = self.any_cast(number) if any_cast else self.open_cast(number)
        if cast is not None:
            told = self.seen(cast, status, conclusion, attempt, jobs=jobs)
            if (owner := binding.find_cast(told)) is not None:
                assert owner == cast.pk
                observing.observe(owner, told)

    def seen(self, cast, status, conclusion, attempt=1, *, jobs=None):
        now = self.clock.now
        told: tuple[Job, ...] | None
        if jobs == "ran":
            self.began.add(cast.pk)
            told = jobs_of("completed" if status == "completed" else "in_progress", conclusion, attempt=attempt)
        elif jobs == "refused":
            told = (Job(1, "job", "completed", conclusion, attempt, started_at=now),)
        else:
            told = jobs_of("queued", attempt=attempt) if jobs else None
        return Observation(
            cast.run_scope,
            cast.run_key or str(next(RUN_IDS)),
            attempt,
            status,
            conclusion if status == "completed" else None,
            title=cast.run_tag,
            run_started_at=now,
            updated_at=now,
            jobs=told,
        )

    @rule(number=which, status=st.sampled_from(["succeeded", "failed", "cancelled"]), charge=st.booleans())
    def a_worker_wakes_up_late(self, number, status, charge):
        if (cast := self.open_cast(number)) is not None:
            late = claim(cast)
            claim(cast)
            assert dispatching.intend_dispatch(late) is dispatching.Intent.LOST or slots.wait_of(late)
            assert not ending.end(late, status, reason="late", message="Late.", charge=charge)

    @rule(number=which)
    def a_worker_dies(self, number):
        if (cast := self.open_cast(number)) is not None:
            claim(cast)
            self.clock.forward(seconds=31)
            assert Cast.due_rows().recover() >= 1

    @rule(seconds=st.sampled_from([1, 61, 601, 7201, 8 * 24 * 3600]))
    def time_passes(self, seconds):
        self.clock.forward(seconds=seconds)

    # --- what is always true -----------------------------------------------------------------------------------

    @invariant()
    def an_end_is_final(self):
        for cast in self.casts():
            if cast.pk in self.ends:
                assert tuple(getattr(cast, name) for name in PUBLIC) == self.ends[cast.pk]
            elif cast.final:
                self.ends[cast.pk] = tuple(getattr(cast, name) for name in PUBLIC)
                assert (cast.progress, cast.finished_at is None) == (100, False)

    @invariant()
    def times_are_in_order(self):
        for cast in self.casts():
            assert cast.created_at <= (cast.started_at or cast.created_at) <= (cast.finished_at or self.clock.now)
            assert cast.started_at is None or cast.pk in self.began
            assert cast.status != "running" or cast.started_at is not None

    @invariant()
    def every_hold_is_settled_once_when_its_cast_ends(self):
        moved: dict[object, dict[str, int]] = {}
        for entry in LedgerEntry.objects.filter(period__account=self.account):
            assert entry.kind not in moved.setdefault(entry.cast_id, {})
            moved[entry.cast_id][entry.kind] = entry.cents
        for cast in self.casts():
            kinds = moved.pop(cast.pk)
            assert kinds.pop("hold") == cast.cost_cents
            assert bool(kinds) == cast.final
            assert not cast.final or sum(kinds.values()) == cast.cost_cents
            assert not cast.final or kinds.get("capture", 0) == cast.charged_cents
            if cast.final and cast.price is None:
                assert cast.charged_cents in (0, cast.cost_cents)
            elif cast.final and cast.charged_cents:  # none of these runs reports anything
                minutes = cast.charge["minutes"]
                assert cast.charged_cents == min(15, 2 * minutes)
                assert 60 * (minutes - 1) <= (cast.finished_at - cast.created_at).total_seconds()
            assert cast.run_key is not None or not kinds.get("capture"), "what never ran was paid"
            if kinds.get("capture") and cast.status == "failed" and cast.jobs:
                assert cast.pk in self.began, "what never ran was paid"
        assert not moved, "a hold without its cast"

    @invariant()
    def the_counters_are_what_the_ledger_says_and_within_their_caps(self):
        for period in BudgetPeriod.objects.filter(account=self.account).exclude(scope="credit"):
            assert (period.held_cents, period.captured_cents) == self.ledger(period)
            ceiling = self.ceilings.get(period.pk, period.cap_cents)
            assert ceiling is None or period.used_cents <= ceiling
            # A cap that was lowered lets go of nothing, but what is given back does not come again.
            self.ceilings[period.pk] = None if period.cap_cents is None else max(period.cap_cents, period.used_cents)

    @invariant()
    def credit_is_what_was_booked_less_what_casts_took_of_it(self):
        counter = BudgetPeriod.objects.filter(account=self.account, scope="credit").first()
        assert (counter is None) == (self.booked is None)
        entries = LedgerEntry.objects.filter(period__account=self.account, on_credit=True)
        if counter is None or self.booked is None:
            assert not entries
            return
        held, captured = self.added_up(entries)
        booked = sum(self.booked.values())
        assert (counter.cap_cents, counter.held_cents, counter.captured_cents) == (booked, held, captured)

    @invariant()
    def open_casts_are_counted(self):
        assert open_casts.of(self.account) == sum(not cast.final for cast in self.casts())

    @invariant()
    def events_are_numbered_without_a_gap_and_end_with_the_end(self):
        lines: dict[object, list[tuple[int, str]]] = {}
        events = CastEvent.objects.filter(cast__account=self.account).order_by("seq")
        for cast_id, seq, kind in events.values_list("cast", "seq", "kind"):
            lines.setdefault(cast_id, []).append((seq, kind))
        for cast in self.casts():
            numbers, kinds = zip(*lines[cast.pk], strict=True)
            assert numbers == tuple(range(1, cast.last_seq + 1))
            assert kinds.count("ended") == cast.final
            assert set(kinds[kinds.index("ended") + 1 :] if cast.final else ()) <= {"rerun_on_github"}

    @invariant()
    def no_more_run_than_may(self):
        for spell in self.spells:
            limit = spell.max_running
            assert limit is None or slots.holding().filter(spell=spell).count() <= limit
        limit = self.account.max_running
        assert limit is None or slots.holding().filter(account=self.account).count() <= limit
        assert all(count == 1 for count in self.started.values())

    def teardown(self):
        call_command("verifyledger", stdout=io.StringIO())

    # --- how it knows ------------------------------------------------------------------------------------------

    def casts(self):
        return list(Cast.objects.filter(account=self.account).select_related("spell").order_by("pk"))

    def any_cast(self, number):
        return found[number % len(found)] if (found := self.casts()) else None

    def open_cast(self, number):
        found = [cast for cast in self.casts() if not cast.final]
        return found[number % len(found)] if found else None

    def rows(self):
        """Return all that a refusal must leave as it is."""
        entries = LedgerEntry.objects.filter(period__account=self.account)
        periods = BudgetPeriod.objects.filter(account=self.account).exclude(held_cents=0, captured_cents=0)
        return (
            [cast.pk for cast in self.casts()],
            list(entries.values_list("pk", flat=True)),
            sorted(periods.values_list("pk", "held_cents", "captured_cents")),
        )

    def ledger(self, period):
        """Return (held, captured) of a counter by the entries, added up here and not by what is under test."""
        entries = LedgerEntry.objects.filter(period__account=self.account, period__month=period.month)
        refs = [("", entry.api_key_id if period.scope == "key" else entry.spell_key) for entry in entries]
        return self.added_up(entry for entry, ours in zip(entries, refs, strict=True) if period.ref in ours)

    def added_up(self, entries):
        held = captured = 0
        for entry in entries:
            held += entry.cents * (1 if entry.kind == "hold" else -1)
            captured += entry.cents * (entry.kind == "capture")
        return held, captured

    def has_no_credit_for(self, spell):
        if self.booked is None or not spell.price_cents:
            return False
        used = sum(self.added_up(LedgerEntry.objects.filter(period__account=self.account, on_credit=True)))
        return used + spell.price_cents > sum(self.booked.values())

    def is_short(self, scope, spell, api_key):
        """Whether a cap has no room for one cast more."""
        cap = self.caps[scope]
        if cap is None or scope not in (("account", ""), ("key", str(api_key.pk)), ("spell", spell.key)):
            return False
        used = sum(self.ledger(BudgetPeriod(month=month_of(self.clock.now), scope=scope[0], ref=scope[1])))
        return cap == 0 or used + spell.price_cents > cap


@pytest.mark.django_db
def test_any_order_of_everything_keeps_every_promise(runtime, clock, settings):
    settings.CAST_LOST_SECONDS, settings.CAST_CANCEL_GRACE_SECONDS, settings.CAST_ARTIFACT_WAIT_SECONDS = 60, 30, 60
    Money.runtime, Money.clock = runtime, clock
    plan = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(Money, settings=plan)
