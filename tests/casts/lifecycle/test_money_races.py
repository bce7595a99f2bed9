"""Real concurrency on the last cents, one key, one end and the last slot: threads, and on Postgres processes too.

SPELL_RACE_ROUNDS says how many rounds are raced in all; by default it is a few of each kind.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from functools import partial

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import RequestFactory
from django.utils import timezone

from accounts import budget, keys, open_casts
from accounts.errors import BudgetExceeded, TooManyOpenCasts
from accounts.models import Account, AccountEvent, BudgetPeriod, LedgerEntry
from casts.api.casts import CreateCast
from casts.execution import finish
from casts.execution.steps import CastWork
from casts.lifecycle import ending, observing, slots
from casts.models import OPEN, Cast, CastEvent, CastStatus, IdempotencyRecord
from casts.runtime import Observation
from core.db.threads import answered
from tests.casts.client import Api
from tests.casts.conftest import LEASE, accept_cast, claim, history, ledger
from tests.casts.fake import jobs_of
from tests.casts.lifecycle.test_moves import together
from tests.casts.racer import racers
from tests.e2e.platform import beside
from tests.spells import stored_spell

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = int(os.environ.get("SPELL_RACE_ROUNDS", "14"))
SHARES = {"cents": 0.25, "cents by processes": 0.15, "key": 0.1, "end": 0.3, "slot": 0.2}
NUMBERS = itertools.count(1)


def rounds(kind):
    """Return the numbers of this kind's rounds. One of the key's is a hundred requests."""
    return range(max(1, round(ROUNDS * SHARES[kind] * (1 if ROUNDS >= 1000 or kind != "key" else 0.4))))


def fine(outcomes):
    """Check that nothing was raised that the race does not explain."""
    broken = [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, BudgetExceeded)]
    assert not broken, broken
    return outcomes


def test_a_thousand_rounds_are_a_thousand():
    assert sum(round(1000 * share) for share in SHARES.values()) == 1000


# --- the last cents ----------------------------------------------------------------------------------------------


class Purse:
    """An account with two keys and two spells, each of which has a cap of its own, or none."""

    def __init__(self, chance: random.Random) -> None:
        self.name = f"purse-{next(NUMBERS)}"
        self.account = Account.objects.create(
            name=self.name, monthly_cap_cents=chance.choice([30, 35, 200]), max_open=chance.choice([4, 9, None])
        )
        self.keys = [keys.create(self.account, name=f"{self.name}-{i}")[0] for i in range(2)]
        common = {"repository": "demo/spells", "workflow_file": "cast.yml"}
        self.spells = [
            stored_spell(key=f"{self.name}.{cents}", name="x", price_cents=cents, **common) for cents in (5, 3)
        ]
        # The month is not open yet: that many make its counters at once is part of the race.
        for scope, ref in (("key", str(self.keys[0].pk)), ("spell", self.spells[0].key)):
            if chance.random() < 0.7:
                self.account.caps.create(scope=scope, ref=ref, cap_cents=chance.choice([11, 20]))

    def periods(self):
        return BudgetPeriod.objects.filter(account=self.account)

    def check(self):
        """Check every cap, and every counter against the ledger."""
        assert self.periods().count() == 1 + self.account.caps.count()
        own = self.periods().get(scope="account")
        for period in self.periods():
            assert period.cap_cents is None or period.used_cents <= period.cap_cents, period
            assert (period.held_cents, period.captured_cents) == budget.recounted(own, period.scope, period.ref)
        casts = Cast.objects.filter(account=self.account)
        assert open_casts.of(self.account) == casts.filter(status__in=OPEN).count() <= open_casts.most(self.account)
        assert LedgerEntry.objects.filter(period=own, kind="hold").count() == casts.count()
        assert CastEvent.objects.filter(cast__account=self.account, kind="accepted").count() == casts.count()
        dedupes = list(AccountEvent.objects.filter(account=self.account).values_list("dedupe", flat=True))
        assert len(set(dedupes)) == len(dedupes)

    def has_no_room_for(self, key, spell):
        if open_casts.of(self.account) == self.account.max_open:
            return True
        scopes = {("account", ""), ("key", str(key.pk)), ("spell", spell.key)}
        left = [p.remaining_cents for p in self.periods() if (p.scope, p.ref) in scopes]
        return any(cents is not None and cents < spell.price_cents for cents in left)


def round_of_cents(purse, chance):
    asked = [(chance.choice(purse.keys), chance.choice(purse.spells)) for _ in range(12)]

    def accept(i):
        key, spell = asked[i]
        try:
            return accept_cast(api_key=key, spell=spell, input={})
        except (BudgetExceeded, TooManyOpenCasts):
            return asked[i]

    outcomes = fine(together(12, accept))
    purse.check()
    # In this phase room only shrinks: who was refused for a good reason would be refused now.
    assert all(purse.has_no_room_for(*refused) for refused in outcomes if not isinstance(refused, Cast))
    held = [claim(cast) for cast in outcomes if isinstance(cast, Cast)]

    def end(i):
        return ending.end(held[i], CastStatus.FAILED, reason="x", message="x", charge=i % 2 == 0)

    acts = [partial(end, i) for i in range(len(held))] + [partial(accept, i) for i in range(6)]
    acts.append(partial(budget.set_cap, purse.account, cap_cents=500, scope="key", ref=str(purse.keys[1].pk)))
    chance.shuffle(acts)
    fine(together(len(acts), lambda i: acts[i]()))
    purse.check()


def test_threads_on_the_last_cents_pass_no_cap_and_are_not_refused_without_reason():
    for number in rounds("cents"):
        chance = random.Random(number)
        round_of_cents(Purse(chance), chance)
    call_command("verifyledger", verbosity=0)


def database_url():
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return beside(os.environ["TEST_DATABASE_URL"], name)


@pytest.mark.processes
def test_processes_on_the_last_cents_pass_no_cap():
    if connection.vendor == "sqlite":
        pytest.skip("on SQLite there is one web process and one worker")
    with racers(4, database_url()) as started:
        for number in rounds("cents by processes"):
            chance = random.Random(number)
            purse = Purse(chance)
            asked = [[(chance.choice(purse.keys), chance.choice(purse.spells)) for _ in range(4)] for _ in started]
            # Each process accepts its casts in one round; some have twins in others' rounds, in any order.
            for one, pairs in zip(started, asked, strict=True):
                once = [f"{purse.name}-{place}" if place < 3 else None for place in range(4)]
                chance.shuffle(once)
                one.tell(
                    do="accept",
                    casts=[[key.pk, spell.pk, twin] for (key, spell), twin in zip(pairs, once, strict=True)],
                )
            heard = [one.hear() for one in started]
            purse.check()
            for pairs, outcomes in zip(asked, heard, strict=True):
                refused = [pair for pair, outcome in zip(pairs, outcomes, strict=True) if outcome == "refused"]
                assert all(purse.has_no_room_for(*pair) for pair in refused)
            assert sum(o == "held" for outcomes in heard for o in outcomes) == purse.account.casts.count()


# --- one key -------------------------------------------------------------------------------------------------------


ROOM = threading.BoundedSemaphore(60)


def ask(secret, key, body):
    """POST /cast through the view itself; the test client is not made for a hundred threads.

    Sixty at a time: a hundred threads with a connection each are more than Postgres takes by itself.
    """
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key}
    request = RequestFactory().post("/api/v1/cast", json.dumps(body), content_type="application/json", headers=headers)
    with ROOM:
        try:
            return answered(CreateCast.as_view(), request)
        finally:
            connections.close_all()


def round_of_requests(secret, key, runtime):
    body = {"spell_key": "greet", "input": {"name": f"Ada {key}"}}
    before, started = Cast.objects.count(), runtime.count("start")
    answers = fine(together(100, lambda _: ask(secret, key, body)))
    assert len(answers) == 100
    first = [a for a in answers if a.status_code == 201 and "Idempotent-Replayed" not in a.headers]
    replays = [a for a in answers if a.headers.get("Idempotent-Replayed") == "true"]
    waiting = [a for a in answers if a.status_code == 409]
    assert (len(first), len(first) + len(replays) + len(waiting)) == (1, 100)
    replays += [ask(secret, key, body) for _ in waiting]
    assert {a.status_code for a in replays} == {201}
    wanted = json.loads(first[0].content)
    assert all(json.loads(a.content) == wanted for a in replays)
    assert Cast.objects.count() == before + 1
    cast = Cast.objects.get(pk=wanted["cast_id"])
    assert ledger(cast) == [("hold", 5)]

    def work(_):
        for row in Cast.due_rows().filter(pk=cast.pk).claim(limit=1, lease=LEASE):
            row.give_back(CastWork().step(row))

    fine(together(4, work))
    assert runtime.count("start") == started + 1


def test_a_hundred_requests_with_one_key_are_one_cast_one_hold_and_one_dispatch(account, spell, runtime):
    Account.objects.update(monthly_cap_cents=None)
    _, secret = keys.create(account, name="racer")
    assert Api(secret).get("/budget").status_code == 200  # so that not all of them note the key's first use
    for number in rounds("key"):
        round_of_requests(secret, f"k-{number}", runtime)
    assert IdempotencyRecord.objects.count() == Cast.objects.count()


# --- one end -------------------------------------------------------------------------------------------------------


def unsent(cast, runtime):
    """Cancel, a worker's step, and the end of its time: before anything was sent."""
    held = claim(cast)
    again = Cast.objects.select_related("spell").get(pk=cast.pk)
    return [
        lambda: ending.cancel(cast.pk),
        lambda: ending.cancel(cast.pk),
        lambda: CastWork().step(held),
        lambda: finish.end_cancelled(again, "expired"),
    ]


def running(cast, runtime):
    """Cancel, success and timeout of a run."""
    held = claim(cast)
    CastWork().step(held)
    cast.refresh_from_db()
    for status in ("in_progress", "completed")[: 1 + random.getrandbits(1)]:
        told = Observation(cast.run_scope, cast.run_key, 1, status, "success", jobs=jobs_of(status, "success"))
        observing.observe(cast.pk, told)
    held = claim(cast)
    held.refresh_from_db()
    done = Observation(cast.run_scope, cast.run_key, 1, "completed", "success")
    return [
        lambda: ending.cancel(cast.pk),
        lambda: ending.cancel(cast.pk),
        lambda: observing.observe(cast.pk, done),
        lambda: finish.finish_success(held, finish.no_remarks, ran=True),
        lambda: finish.end_cancelled(Cast.objects.select_related("spell").get(pk=cast.pk), "timed_out"),
    ]


def test_cancel_success_and_expiry_at_once_are_one_end_and_one_settlement(make_cast, account, runtime):
    Account.objects.update(monthly_cap_cents=None)
    ends = set()
    for number in rounds("end"):
        cast = make_cast()
        began = runtime.count("start")
        acts = (unsent, running)[number % 2](cast, runtime)
        random.Random(number).shuffle(acts)
        fine(together(len(acts), lambda i, acts=acts: acts[i]()))
        cast.refresh_from_db()
        if not cast.final:  # the step won: it was sent, and GitHub is to be asked
            assert cast.cancel_requested_at is not None
            assert cast.cancel_reason == "cancelled_by_caller"
            assert runtime.count("start") == began + 1
            assert ending.end(claim(cast), CastStatus.CANCELLED, reason="later", message="x", charge=False)
            cast.refresh_from_db()
        elif number % 2 == 0 and cast.status == "cancelled":
            assert runtime.count("start") == began, "cancelled at once, and started all the same"
        assert history(cast).count("ended") == 1
        [_, (kind, cents)] = ledger(cast)
        paid = cast.status == "succeeded" or cast.status_reason == "timed_out"
        assert (kind, cents) == ("capture" if paid else "release", 5)
        ends.add(cast.status_reason)
    assert len(ends) > 1 or ROUNDS < 100, ends
    call_command("verifyledger", verbosity=0)


# --- the last slot -------------------------------------------------------------------------------------------------


def round_of_slots(spell, line, limit):
    def work(held):
        held.give_back(CastWork().step(held))
        # Whatever order they come in, it is never one too many, not even for a moment.
        assert slots.holding().filter(spell=spell).count() <= limit

    def end(held):
        assert ending.end(held, CastStatus.FAILED, reason="x", message="x", charge=False)

    while line:
        at_once(work, line)
        while woken := Cast.objects.filter(spell=spell, dispatch_started_at=None, due_at__lte=timezone.now()):
            at_once(work, woken)
        sent = list(slots.holding().filter(spell=spell))
        assert len(sent) == min(limit, len(line))
        line = [cast for cast in line if cast.pk not in {one.pk for one in sent}]
        at_once(end, sent)


def at_once(act, casts):
    """Claim these casts and do something with all of them at one moment."""
    held = [claim(cast) for cast in casts]
    fine(together(len(held), lambda i: act(held[i])))


@pytest.mark.parametrize("of", ["spell", "account"])
def test_as_many_run_as_may_however_many_workers_try(make_spell, runtime, of):
    for number in rounds("slot")[of == "account" :: 2]:
        limit = 1 + number // 2 % 3
        people = [
            Account.objects.create(name=f"{of}-{number}-{i}", max_running=limit if of == "account" else None)
            for i in range(2 if of == "spell" else 1)
        ]
        spell = make_spell(f"{of}-{number}", max_running=limit if of == "spell" else None)
        owners = [keys.create(one, name="k")[0] for one in people]
        line = [accept_cast(api_key=owners[i % len(owners)], spell=spell, input={}) for i in range(8)]
        if number // 2 % 2 == 0:
            # Back from a rate limit, none is in line and each believes that it is next: only the lock decides.
            Cast.objects.filter(spell=spell).update(status_reason="rate_limited")
        round_of_slots(spell, line, limit)
    call_command("verifyledger", verbosity=0)


# --- a process is killed -------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize(
    "place", ["casts.lifecycle.idempotency.claim", "accounts.budget.hold_all", "casts.lifecycle.events.append_all"]
)
def test_a_web_process_killed_while_it_accepts_leaves_nothing_and_the_key_works_at_once(
    account, key_and_secret, spell, place
):
    _, secret = key_and_secret
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    with racers(1, database_url()) as [doomed]:
        doomed.tell(do="request", secret=secret, key="k-1", body=body, hang_after=place)
        assert doomed.hear() == "hanging"
        if connection.vendor == "postgresql" and place == "accounts.budget.hold_all":  # it waits two seconds
            asked = time.monotonic()
            twin = Api(secret).post("/cast", body, Idempotency_Key="k-1")
            assert (twin.status_code, twin["Retry-After"]) == (409, "1")
            assert time.monotonic() - asked < 6
        assert not Cast.objects.exists()
        doomed.kill()
        began = time.monotonic()
        answer = Api(secret).post("/cast", body, Idempotency_Key="k-1")
        assert time.monotonic() - began < 2
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert ledger(Cast.objects.get()) == [("hold", 5)]
