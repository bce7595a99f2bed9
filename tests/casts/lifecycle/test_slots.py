"""Slots: no more at once than is allowed, first come first served in an account, turn by turn between accounts."""

from __future__ import annotations

import datetime as dt

import pytest

from accounts import keys
from accounts.models import Account
from casts.lifecycle import ending, observing, slots
from casts.models import Cast, CastStatus, SlotOrder, Spell
from casts.runtime import DispatchRefused, NotNow, Observation, OutcomeUnknown
from tests.casts.conftest import claim, history, step


@pytest.fixture
def narrow(make_spell) -> Spell:
    """A spell of which one may run at once."""
    return make_spell("narrow", max_running=1)


@pytest.fixture
def people(db):
    """Make accounts with a key each, in the order of their ids."""

    def make(*names, **fields):
        return [keys.create(Account.objects.create(name=name, **fields), name=name)[0] for name in names]

    return make


@pytest.fixture
def casts(make_cast):
    """Accept casts in the order in which they are to be served: ids of one millisecond are in no order."""

    def make(count=1, **given):
        return sorted((make_cast(**given) for _ in range(count)), key=lambda cast: cast.pk)

    return make


def sent(*tried):
    """Step these casts in turn; return which of them were sent, by their place."""
    for cast in tried:
        if not cast.final:
            step(cast)
    return [i for i, cast in enumerate(tried) if cast.dispatch_started_at is not None and not cast.final]


def end(cast):
    """End a cast as its worker; return who was woken by it."""
    held = claim(cast)
    Cast.objects.exclude(pk=cast.pk).update(due_at=None)
    assert ending.end(held, CastStatus.SUCCEEDED, reason="test", message="Ended.", charge=True)
    cast.refresh_from_db()


def woken(*of):
    due = set(Cast.objects.filter(due_at__isnull=False).values_list("pk", flat=True))
    return [i for i, cast in enumerate(of) if cast.pk in due]


def positions(*of):
    """Return what the API would say of each cast's place, None for those that are under way."""
    found = []
    for cast in of:
        cast.refresh_from_db()
        wait = slots.wait_of(cast) if cast.dispatch_started_at is None and not cast.final else None
        found.append(wait.position if wait else None)
    return found


# --- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("of", ["spell", "account"])
def test_exactly_as_many_run_as_may(casts, make_spell, api_key, runtime, limit, of):
    if of == "account":
        api_key.account.max_running = limit
        api_key.account.save()
    spell = make_spell("narrow", max_running=limit if of == "spell" else None)
    line = casts(7, spell=spell)
    assert sent(*line) == list(range(limit))
    for ended in range(7 - limit):
        end(line[ended])
        assert sent(*line) == list(range(ended + 1, ended + 1 + limit))
    assert runtime.count("start") == 7


def test_without_a_limit_all_run(casts, runtime):
    assert sent(*casts(4)) == [0, 1, 2, 3]
    assert not SlotOrder.objects.exists()


def test_both_limits_hold(casts, make_spell, api_key, people, runtime):
    api_key.account.max_running = 2
    api_key.account.save()
    wide = make_spell("wide", max_running=3)
    [other] = people("Assassins' Guild")
    mine, theirs = casts(3, spell=wide), casts(3, spell=wide, api_key=other)
    assert sent(*mine, *theirs) == [0, 1, 3]


def test_a_spell_is_shared_by_all_accounts_and_an_accounts_limit_is_its_own(casts, narrow, people, runtime):
    first, second = people("A", "B", max_running=1)
    assert sent(*casts(1, spell=narrow, api_key=first), *casts(1, spell=narrow, api_key=second)) == [0]
    plain = casts(2, api_key=second)
    assert sent(*plain) == [0]


def test_a_cast_that_waits_says_so_once_and_at_which_place(casts, narrow, api, runtime):
    line = casts(3, spell=narrow)
    sent(*line)
    assert (line[2].status, line[2].status_reason) == ("queued", "waiting_for_slot")
    assert line[2].message == "Waiting for a free slot: 1 may run at once, and it is number 2."
    assert step(line[2]) == pytest.approx(dt.timedelta(seconds=60), abs=dt.timedelta(seconds=2))
    assert history(line[2]) == ["accepted", "waiting"]
    assert [api.get(f"/casts/{cast.pk}").json()["queue_position"] for cast in line] == [None, 1, 2]
    assert [cast["queue_position"] for cast in api.get("/casts").json()["results"]] == [2, 1, None]
    end(line[0])
    assert api.get(f"/casts/{line[1].pk}").json()["queue_position"] == 1
    sent(line[1])
    assert [api.get(f"/casts/{cast.pk}").json()["queue_position"] for cast in line] == [None, None, 1]


# --- who is next -----------------------------------------------------------------------------------------------------


def test_within_an_account_the_first_is_first_whoever_is_looked_at_first(casts, narrow, runtime):
    line = casts(4, spell=narrow)
    assert sent(*reversed(line)) == [3]  # the first, which was looked at last
    assert positions(*line) == [None, 1, 2, 3]
    end(line[0])
    assert sent(line[3], line[2]) == []
    assert sent(line[1]) == [0]


def test_accounts_take_turns_however_long_the_line_of_one_is(casts, narrow, people, runtime, clock):
    greedy, modest, late = people("A", "B", "C")
    mine = casts(5, spell=narrow, api_key=greedy)
    assert sent(mine[0]) == [0]
    theirs = casts(2, spell=narrow, api_key=modest)
    last = casts(1, spell=narrow, api_key=late)
    line = [*mine, *theirs, *last]
    served = []
    for _ in line:
        clock.forward(seconds=1)
        [now] = sent(*line)
        served.append(now)
        end(line[now])
    assert served == [0, 5, 7, 1, 6, 2, 3, 4]


def test_places_say_in_which_order_they_will_be_served(casts, narrow, people, runtime, clock):
    first, second = people("A", "B")
    mine, theirs = casts(3, spell=narrow, api_key=first), casts(2, spell=narrow, api_key=second)
    line = [*mine, *theirs]
    assert sent(mine[0]) == [0]
    clock.forward(seconds=1)
    told = positions(*line)
    assert sorted(told[1:]) == [1, 2, 3, 4]
    order = []
    end(line[0])
    for _ in range(4):
        clock.forward(seconds=1)
        [now] = sent(*line)
        order.append(now)
        end(line[now])
    assert order == sorted(order, key=lambda i: told[i])


def test_an_account_that_comes_back_after_others_had_turns_is_before_them(casts, narrow, people, runtime, clock):
    first, second = people("A", "B")
    [one] = casts(1, spell=narrow, api_key=first)
    sent(one), end(one), clock.forward(seconds=1)
    line = casts(3, spell=narrow, api_key=second)
    assert sent(*line) == [0]
    clock.forward(seconds=1)
    again = casts(1, spell=narrow, api_key=first)
    assert positions(*line, *again) == [None, 2, 3, 1]


def test_an_account_at_its_own_limit_holds_up_nobody_and_keeps_its_turn(casts, make_spell, people, runtime, clock):
    shared = make_spell("shared", max_running=2)
    [full] = people("A", max_running=1)
    [other] = people("B")
    elsewhere = casts(1, api_key=full)
    assert sent(*elsewhere) == [0]
    mine, theirs = casts(2, spell=shared, api_key=full), casts(3, spell=shared, api_key=other)
    assert sent(*mine, *theirs) == [2, 3]
    clock.forward(seconds=1)
    end(elsewhere[0])
    assert sent(*mine) == []  # the spell's slots are taken
    end(theirs[0])
    assert sent(*theirs) == [1]
    assert sent(*mine) == [0]


def test_a_crowded_spell_does_not_hold_up_its_accounts_other_casts(casts, narrow, people, runtime):
    [full], [other] = people("A", max_running=1), people("B")
    assert sent(*casts(1, spell=narrow, api_key=other)) == [0]
    waiting, free = casts(1, spell=narrow, api_key=full), casts(1, api_key=full)
    assert sent(*waiting, *free) == [1]


# --- a slot is given back --------------------------------------------------------------------------------------------


def test_an_end_wakes_exactly_who_is_next(casts, narrow, people, runtime, clock, django_capture_on_commit_callbacks):
    first, second = people("A", "B")
    mine, theirs = casts(3, spell=narrow, api_key=first), casts(2, spell=narrow, api_key=second)
    line = [*mine, *theirs]
    sent(*line)
    for follower in (3, 1, 4, 2):
        clock.forward(seconds=1)
        [now] = [i for i, cast in enumerate(line) if cast.dispatch_started_at and not cast.final]
        with django_capture_on_commit_callbacks(execute=True):
            end(line[now])
        assert woken(*line) == [follower]
        assert sent(line[follower]) == [0]


def test_a_turn_taken_out_of_order_wakes_whom_it_puts_first(
    casts, make_spell, people, runtime, clock, django_capture_on_commit_callbacks
):
    spell, (first, second) = make_spell("three", max_running=3), people("A", "B")
    mine, theirs = casts(2, spell=spell, api_key=first), casts(2, spell=spell, api_key=second)
    for cast, goes in ((theirs[1], False), (theirs[0], True), (mine[1], False), (mine[0], True)):
        clock.forward(seconds=1)
        with django_capture_on_commit_callbacks(execute=True):
            assert sent(cast) == [0] * goes
    # One slot is left, and now it is the turn of the very first that was told to wait.
    assert positions(mine[1], theirs[1]) == [2, None]
    clock.forward(seconds=1)
    assert theirs[1].due_at < clock.now < mine[1].due_at
    assert sent(theirs[1]) == [0]


def test_who_is_next_may_have_gone_before_it_is_woken(
    casts, narrow, runtime, monkeypatch, django_capture_on_commit_callbacks
):
    line = casts(2, spell=narrow)
    sent(*line)
    original = slots.crowded

    def meanwhile(account_ids):
        Cast.objects.filter(pk=line[1].pk).update(dispatch_started_at=line[1].created_at)
        return original(account_ids)

    monkeypatch.setattr(slots, "crowded", meanwhile)
    held = claim(line[0])
    assert ending.end(held, CastStatus.SUCCEEDED, reason="test", message="Ended.", charge=True)
    assert slots.next_in_line(held) == []


def test_a_wake_up_that_fails_breaks_nothing_that_was_done(
    casts, narrow, runtime, monkeypatch, caplog, django_capture_on_commit_callbacks
):
    line = casts(2, spell=narrow)
    monkeypatch.setattr(slots, "next_in_line", lambda _: 1 / 0)
    with django_capture_on_commit_callbacks(execute=True):
        assert sent(line[0]) == [0]
        end(line[0])
    assert runtime.count("start") == 1
    assert line[0].final


def test_an_accounts_slot_wakes_the_first_cast_of_each_of_its_spells(
    casts, narrow, make_spell, people, runtime, django_capture_on_commit_callbacks
):
    [mine], [other] = people("A", max_running=1), people("B")
    assert sent(*casts(1, spell=narrow, api_key=other)) == [0]
    running = casts(1, api_key=mine)
    assert sent(*running) == [0]
    # The two oldest wait for the crowded spell: whoever woke only them would leave the slot unused.
    line = [*casts(2, spell=narrow, api_key=mine), *casts(2, api_key=mine, spell=make_spell("third"))]
    assert sent(*line) == []
    with django_capture_on_commit_callbacks(execute=True):
        end(running[0])
    assert woken(*line) == [0, 2]
    assert sent(line[0], line[2]) == [1]


def test_one_that_was_next_and_is_cancelled_passes_the_slot_on(
    casts, narrow, runtime, api, django_capture_on_commit_callbacks
):
    line = casts(3, spell=narrow)
    sent(*line)
    with django_capture_on_commit_callbacks(execute=True):
        end(line[0])
    Cast.objects.update(due_at=None)
    with django_capture_on_commit_callbacks(execute=True):
        ending.cancel(line[1].pk)
    assert woken(*line) == [2]
    assert sent(line[2]) == [0]


@pytest.mark.parametrize("trouble", [NotNow("Wait.", reason="rate_limited"), DispatchRefused("No.")])
def test_what_started_nothing_gives_its_slot_back(casts, narrow, runtime, trouble):
    line = casts(2, spell=narrow)
    runtime.answers["start"] = trouble
    step(line[0])
    assert not slots.holding().exists()
    del runtime.answers["start"]
    assert len(sent(*line)) == 1


def test_what_may_have_started_something_keeps_its_slot(casts, narrow, runtime):
    line = casts(2, spell=narrow)
    runtime.answers["start"] = OutcomeUnknown("timeout")
    assert sent(*line) == [0]


def test_a_rate_limited_cast_of_another_account_lets_the_next_one_go(casts, narrow, people, runtime, clock):
    first, second = people("A", "B")
    [one], [two] = casts(1, spell=narrow, api_key=first), casts(1, spell=narrow, api_key=second)
    runtime.answers["start"] = NotNow("Wait.", reason="rate_limited")
    step(one)
    del runtime.answers["start"]
    assert sent(two) == [0]
    assert sent(one) == []


@pytest.mark.parametrize("final", ["succeeded", "failed", "cancelled"])
def test_any_end_frees_the_slot_and_a_run_that_goes_on_keeps_it(casts, narrow, runtime, final):
    line = casts(2, spell=narrow)
    sent(*line)
    observing.observe(line[0].pk, Observation("demo/spells", line[0].run_key, status="in_progress"))
    ending.cancel(line[0].pk)
    assert sent(line[1]) == []  # asked to stop is not stopped
    ending.end(claim(line[0]), final, reason="test", message="Ended.", charge=False)
    assert sent(line[1]) == [0]


def test_a_cancelled_or_expired_cast_stands_in_nobodys_way(casts, narrow, runtime, clock):
    line = casts(4, spell=narrow)
    assert sent(*line) == [0]
    ending.cancel(line[1].pk)
    Cast.objects.filter(pk=line[2].pk).update(expires_at=clock.now)
    step(line[2])
    assert positions(*line) == [None, None, None, 1]
    end(line[0])
    assert sent(line[3]) == [0]


def test_a_limit_that_is_lifted_or_lowered_counts_from_the_next_look(casts, narrow, runtime):
    line = casts(4, spell=narrow)
    assert sent(*line) == [0]
    Spell.objects.filter(pk=narrow.pk).update(max_running=3)
    assert sent(*line) == [0, 1, 2]
    Spell.objects.filter(pk=narrow.pk).update(max_running=1)
    end(line[0])
    assert sent(*line) == [1, 2]
    Spell.objects.filter(pk=narrow.pk).update(max_running=None)
    assert sent(*line) == [1, 2, 3]
