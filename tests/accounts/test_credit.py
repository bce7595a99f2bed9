"""Credit: what a billed account has paid for, which no cast passes, however many come at once."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from accounts import budget, credit
from accounts.errors import BudgetExceeded
from accounts.models import Account, AccountEvent, BudgetPeriod, Credit, LedgerEntry
from core.db.append_only import AppendOnly

pytestmark = pytest.mark.django_db
HEARD: list[int] = []


@pytest.fixture
def billed(db):
    """Return an account that pays for its casts, with 100 cents."""
    account = Account.objects.create(name="Vimes")
    credit.begin_billing(account)
    assert credit.book(account.pk, "topup", 100, "pi_1")
    return account


@pytest.fixture
def heard(settings):
    """Return what those were told whom CREDIT_LOW names."""
    settings.CREDIT_LOW = [f"{__name__}.hear"]
    HEARD.clear()
    return HEARD


def hear(account_id, remaining):
    assert connection.in_atomic_block
    HEARD.append(remaining)


def hold(account, cents, cast_id=None):
    with transaction.atomic():
        return budget.hold(account, cast_id=cast_id or uuid.uuid4(), cents=cents)


def settle(held, capture_cents=None):
    with transaction.atomic():
        budget.settle(held.cast_id, capture_cents=capture_cents)


def numbers(account):
    now = credit.state(account)
    assert now is not None
    return now.cap_cents, now.held_cents, now.captured_cents, now.remaining_cents


def verified():
    call_command("verifyledger", verbosity=0)


# --- what a cast moves ---------------------------------------------------------------------------------------------


def test_a_hold_takes_credit_and_its_settlement_spends_it_or_gives_it_back(billed):
    assert numbers(billed) == (100, 0, 0, 100)
    whole, part, none = hold(billed, 30), hold(billed, 20), hold(billed, 50)
    assert numbers(billed) == (100, 100, 0, 0)
    settle(whole)
    settle(part, 5)
    settle(none, 0)
    assert numbers(billed) == (100, 0, 35, 65)
    assert set(LedgerEntry.objects.values_list("on_credit", flat=True)) == {True}
    verified()


def test_a_cast_that_the_credit_does_not_pay_is_refused_and_leaves_nothing(billed, settings):
    hold(billed, 60)
    with pytest.raises(BudgetExceeded) as refused:
        hold(billed, 41)
    facts = {"cap_cents": 100, "held_cents": 60, "captured_cents": 0, "required_cents": 41, "resets_at": None}
    assert refused.value.extra == facts | {"scope": "credit"}
    assert not refused.value.headers, "no month's end brings more"
    assert "needs 41 cents of the account's credit, of which 40 are left" in str(refused.value)
    assert (budget.current(billed).held_cents, LedgerEntry.objects.count()) == (60, 1)
    hold(billed, 40)
    verified()


@pytest.mark.parametrize(("billing", "fix"), [(True, "GET /api/v1/billing"), (False, "Ask the operator")])
def test_a_refusal_says_how_to_get_more(billed, settings, billing, fix):
    settings.BILLING = billing
    with pytest.raises(BudgetExceeded, match=fix):
        hold(billed, 101)


def test_a_cap_refuses_also_what_the_credit_would_pay(billed):
    budget.set_cap(billed, cap_cents=10)
    with pytest.raises(BudgetExceeded) as refused:
        hold(billed, 11)
    assert refused.value.extra["scope"] == "account"
    assert numbers(billed) == (100, 0, 0, 100)
    hold(billed, 10)
    verified()


def test_what_is_free_needs_no_credit(billed):
    credit.book(billed.pk, "dispute", -300, "du_1")
    held = hold(billed, 0)
    settle(held)
    assert not LedgerEntry.objects.filter(on_credit=True).exists()
    assert numbers(billed) == (-200, 0, 0, -200)
    verified()


def test_what_was_held_before_billing_began_is_not_taken_from_credit(db):
    account = Account.objects.create(name="Nobby")
    before = hold(account, 30)
    credit.begin_billing(account)
    credit.begin_billing(account)
    assert BudgetPeriod.objects.filter(scope="credit").count() == 1
    settle(before)
    assert numbers(account) == (0, 0, 0, 0)
    with pytest.raises(BudgetExceeded):
        hold(account, 1)
    verified()


def test_an_account_that_is_not_billed_pays_with_no_statement_more(db, billed):
    free = Account.objects.create(name="Colon")
    counts = {}
    for account in (free, billed):
        settle(hold(account, 1))  # the month's counters are made
        with CaptureQueriesContext(connection) as asked:
            settle(hold(account, 1))
        counts[account.name] = [query["sql"] for query in asked]
        assert credit.state(account) is None or account is billed
    assert not any("1970" in sql for sql in counts["Colon"])
    assert len(counts["Vimes"]) == len(counts["Colon"]), "credit is written with the month's money"


# --- what is booked ------------------------------------------------------------------------------------------------


def test_each_source_is_booked_once(billed):
    assert not credit.book(billed.pk, "topup", 100, "pi_1")
    assert not credit.book(billed.pk, "topup", 999, "pi_1"), "whatever is said of it the second time"
    assert credit.book(billed.pk, "refund", -30, "re_1", note="asked for", by="Sybil")
    assert not credit.book(billed.pk, "grant", 0, "nothing")
    assert numbers(billed) == (70, 0, 0, 70)
    assert [(c.kind, c.cents) for c in Credit.objects.order_by("id")] == [("topup", 100), ("refund", -30)]
    verified()


@pytest.mark.parametrize(("kind", "cents"), [("topup", -1), ("paid", -1), ("won", -1), ("dispute", 1)])
def test_the_database_knows_which_way_money_goes(billed, kind, cents):
    with pytest.raises(IntegrityError), transaction.atomic():
        credit.book(billed.pk, kind, cents, "x")
    assert numbers(billed)[0] == 100


def test_nothing_is_booked_for_an_account_that_is_not_billed(db):
    account = Account.objects.create(name="Colon")
    with pytest.raises(credit.NotBilled):
        credit.book(account.pk, "grant", 5, "grant:1")
    assert not Credit.objects.exists()


def test_a_dispute_below_what_is_held_ends_nothing_and_refuses_what_comes(billed):
    running, spent = hold(billed, 60), hold(billed, 30)
    settle(spent)
    credit.book(billed.pk, "dispute", -100, "du_1")
    assert numbers(billed) == (0, 60, 30, -90)
    with pytest.raises(BudgetExceeded):
        hold(billed, 1)
    settle(running)
    assert numbers(billed) == (0, 0, 90, -90)
    credit.book(billed.pk, "won", 100, "du_1:won")
    hold(billed, 10)
    with pytest.raises(BudgetExceeded):
        hold(billed, 1)
    verified()


def test_the_model_changes_no_credit(billed):  # and the database neither: test_ledger.py
    entry = Credit.objects.get()
    for change in (entry.save, entry.delete):
        with pytest.raises(AppendOnly):
            change()
    assert Credit.objects.get().cents == 100


# --- what is told --------------------------------------------------------------------------------------------------


def both_marks(account, cents):
    credit.set_low(account.pk, cents)
    credit.set_refill(account.pk, cents)


def test_that_credit_is_low_is_told_once_until_some_is_booked(billed, heard):
    both_marks(billed, 50)
    first = hold(billed, 50)
    assert (heard, AccountEvent.objects.count()) == ([], 0), "fifty are not below fifty"
    hold(billed, 1)
    hold(billed, 1)
    assert heard == [49]
    settle(first, 0)
    hold(billed, 60)
    assert heard == [49, 38], "it fell below once more"
    told = AccountEvent.objects.get()
    assert (told.kind, told.data["remaining_cents"], told.data["low_cents"]) == ("credit.low", 49, 50)
    credit.book(billed.pk, "topup", 5, "pi_2")
    assert heard == [49, 38, 43], "still below"
    credit.book(billed.pk, "topup", 100, "pi_3")
    hold(billed, 100)
    assert (heard, AccountEvent.objects.count()) == ([49, 38, 43, 43], 3)
    both_marks(billed, None)
    hold(billed, 1)
    assert len(heard) == 4


def test_a_mark_above_what_is_left_is_told_at_once(billed, heard):
    both_marks(billed, 101)
    assert heard == [100]
    assert AccountEvent.objects.get().data["low_cents"] == 101


def test_a_refused_cast_tells_nothing(billed, heard):
    both_marks(billed, 50)
    with pytest.raises(BudgetExceeded):
        hold(billed, 101)
    assert not heard


def test_the_owner_is_told_below_one_mark_and_more_is_asked_for_below_another(billed, heard):
    credit.set_low(billed.pk, 50)
    credit.set_refill(billed.pk, 80)
    hold(billed, 30)
    assert (heard, AccountEvent.objects.count()) == ([70], 0)
    hold(billed, 30)
    assert (heard, AccountEvent.objects.count()) == ([70], 1)


# --- the proof -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"cap_cents": 99}, {"held_cents": 1}, {"captured_cents": 1}])
def test_verifyledger_adds_up_the_credit_too(billed, wrong):
    hold(billed, 30)
    verified()
    BudgetPeriod.objects.filter(scope="credit").update(**wrong)
    with pytest.raises(CommandError, match="Vimes credit: booked"):
        verified()


def at_once(count, act):
    """Call `act` with each number in a thread of its own; return what came of it, and of refusals their scope."""
    together = threading.Barrier(count)
    outcomes: list[object] = []

    def one(number):
        try:
            together.wait(60)
            outcomes.append(act(number))
        except BudgetExceeded as refused:
            outcomes.append(refused.extra["scope"])
        except Exception as exc:
            outcomes.append(repr(exc))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_on_the_last_cents_of_credit_never_pass_it():
    account = Account.objects.create(name="Narrow")
    credit.begin_billing(account)
    credit.book(account.pk, "topup", 100, "pi_1")
    outcomes = at_once(50, lambda _: hold(account, 3) and "held")
    assert sorted(outcomes) == ["credit"] * 17 + ["held"] * 33
    assert numbers(account) == (100, 99, 0, 1)
    verified()


@pytest.mark.django_db(transaction=True)
def test_what_is_learnt_several_times_at_once_is_booked_once_while_casts_come_and_end():
    account = Account.objects.create(name="Busy")
    credit.begin_billing(account)
    credit.book(account.pk, "topup", 40, "pi_1")
    running = [hold(account, 5) for _ in range(4)]
    acts = [
        *[lambda: credit.book(account.pk, "topup", 30, "pi_2") for _ in range(6)],
        *[lambda: credit.book(account.pk, "dispute", -50, "du_1") for _ in range(3)],
        *[lambda held=held: settle(held, 5 * (held is running[0])) for held in running],
        *[lambda: hold(account, 5) and "held" for _ in range(8)],
    ]
    outcomes = at_once(len(acts), lambda number: acts[number]())
    assert set(outcomes) <= {True, False, None, "held", "credit"}, outcomes
    assert outcomes.count(True) == 2
    assert outcomes.count(None) == 4
    booked, held, captured, _ = numbers(account)
    assert (booked, held, captured) == (20, 5 * outcomes.count("held"), 5)
    verified()
