"""The ledger: append-only by the database's own hand, one settlement for each hold, and the counters' proof."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sqlite3
import sys
import uuid

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import budget, open_casts
from accounts.models import BudgetPeriod, LedgerEntry, OpenCasts
from core.db.append_only import AppendOnly
from tests import warm
from tests.conftest import marking
from tests.e2e.platform import ROOT, collecting_nothing, drop_database, environment_for, new_database

pytestmark = pytest.mark.django_db


def hold(account, cents, **given):
    with transaction.atomic():
        return budget.hold(account, cast_id=uuid.uuid4(), cents=cents, **given)


def settle(held, capture_cents=None):
    with transaction.atomic():
        budget.settle(held.cast_id, capture_cents=capture_cents)


def entries(held):
    rows = LedgerEntry.objects.filter(cast_id=held.cast_id).order_by("id")
    return list(rows.values_list("kind", "cents", "settles"))


def counters(account):
    period = budget.current(account)
    return period.held_cents, period.captured_cents


# --- what one cast may move --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "captured", "wanted"),
    [
        (10, None, [("capture", 10, True)]),
        (10, 10, [("capture", 10, True)]),
        (10, 4, [("capture", 4, True), ("release", 6, False)]),
        (10, 0, [("release", 10, True)]),
        (0, None, [("release", 0, True)]),
        (0, 0, [("release", 0, True)]),
    ],
)
def test_a_settlement_takes_a_part_and_gives_back_the_rest(account, price, captured, wanted):
    held = hold(account, price, api_key_id=7, spell_key="greet")
    settle(held, captured)
    assert entries(held) == [("hold", price, False), *wanted]
    assert counters(account) == (0, sum(cents for kind, cents, _ in wanted if kind == "capture"))
    assert set(LedgerEntry.objects.values_list("hold_cents", "api_key_id", "spell_key", "booked_on")) == {
        (price, "7", "greet", held.booked_on)
    }


@pytest.mark.parametrize("second", [None, 0, 4])
@pytest.mark.parametrize("first", [None, 0, 4])
def test_a_second_settlement_of_any_kind_is_refused_and_moves_nothing(account, first, second):
    held = hold(account, 10)
    hold(account, 90)  # so that the counter alone would not notice
    settle(held, first)
    before = entries(held), counters(account)
    with pytest.raises(IntegrityError):
        settle(held, second)
    assert (entries(held), counters(account)) == before


@pytest.mark.parametrize("cents", [11, 10**6, -1])
def test_no_more_is_taken_than_was_held_and_no_less_than_nothing(account, cents):
    held = hold(account, 10)
    with pytest.raises(IntegrityError):
        settle(held, cents)
    assert counters(account) == (10, 0)
    assert len(entries(held)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "capture", "cents": 11, "settles": True},
        {"kind": "release", "cents": 11, "settles": True},
        {"kind": "capture", "cents": -1, "settles": True},
        {"kind": "hold", "cents": 10},
        {"cast_id": uuid.uuid4(), "kind": "hold", "cents": 9},
        {"cast_id": uuid.uuid4(), "kind": "hold", "cents": 10, "settles": True},
    ],
)
def test_the_database_refuses_entries_that_can_not_be(account, wrong):
    held = hold(account, 10)
    plain = {"period": held.period, "cast_id": held.cast_id, "hold_cents": 10, "booked_on": held.booked_on}
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(**plain | wrong)


def test_an_entry_is_booked_on_the_day_of_acceptance_also_when_it_ends_later(account):
    then = timezone.now().replace(year=2026, month=3, day=31, hour=23)
    held = hold(account, 5, at=then)
    settle(held, 2)
    assert {f"{day}" for day in LedgerEntry.objects.values_list("booked_on", flat=True)} == {"2026-03-31"}
    assert f"{held.period.month}" == "2026-03-01"


def test_the_model_refuses_changes_before_the_database_must(account):
    held = hold(account, 10)
    held.cents = 1
    with pytest.raises(AppendOnly):
        held.save()
    with pytest.raises(AppendOnly):
        held.delete()
    assert entries(held) == [("hold", 10, False)]


# --- the proof ---------------------------------------------------------------------------------------------------


def verified():
    out = io.StringIO()
    call_command("verifyledger", stdout=out)
    return out.getvalue().strip()


def test_counters_that_agree_are_counted(account):
    assert verified() == "0 counters agree with the ledger."
    budget.set_cap(account, cap_cents=50, scope="spell", ref="greet")
    settle(hold(account, 10, spell_key="greet"), 3)
    hold(account, 5)
    assert verified() == "3 counters agree with the ledger."


def test_a_count_of_open_casts_that_differs_is_named(account):
    settle(hold(account, 10), 3)
    hold(account, 5)
    OpenCasts.objects.update(number=2)
    with pytest.raises(CommandError, match=f"{account}: 2 open casts, by the ledger 1"):
        verified()


def test_a_cast_ends_also_if_it_was_not_counted(account, caplog):
    held = hold(account, 10)
    OpenCasts.objects.update(number=0)
    settle(held, 3)
    assert "not counted as open" in caplog.text
    assert open_casts.of(account) == 0


@pytest.mark.parametrize("wrong", [{"held_cents": 6}, {"captured_cents": 2}, {"held_cents": 0, "captured_cents": 10}])
@pytest.mark.parametrize("scope", ["account", "key", "spell"])
def test_any_counter_that_differs_is_named_with_both_numbers(account, scope, wrong):
    budget.set_cap(account, cap_cents=50, scope="spell", ref="greet")
    budget.set_cap(account, cap_cents=50, scope="key", ref="7")
    settle(hold(account, 10, api_key_id=7, spell_key="greet"), 3)
    hold(account, 5, api_key_id=7, spell_key="greet")
    BudgetPeriod.objects.filter(scope=scope).update(**wrong)
    with pytest.raises(CommandError) as found:
        verified()
    [line] = str(found.value).splitlines()[1:]
    which = {"account": "", "key": " key 7", "spell": " spell greet"}[scope]
    held, captured = wrong.get("held_cents", 5), wrong.get("captured_cents", 3)
    month = budget.current(account).month
    assert line == (
        f"Unseen University {month:%Y-%m}{which}: held {held}, by the ledger 5; captured {captured}, by the ledger 3"
    )


# --- a database of its own, as an operator has it ------------------------------------------------------------------

OLD_ROWS = """
import json, uuid
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

call_command("migrate", "accounts", "0001", verbosity=0)
now = timezone.now()
ids = [uuid.UUID(int=i) for i in (1, 2, 3)]
with connection.cursor() as cursor:
    text = lambda value: connection.ops.adapt_datetimefield_value(value)
    cursor.execute("INSERT INTO accounts_account (id, name, monthly_cap_cents, created_at) VALUES (1, 'Old', 100, %s)",
                   [text(now)])
    cursor.execute("INSERT INTO accounts_budgetperiod (id, account_id, month, cap_cents, held_cents, captured_cents)"
                   " VALUES (1, 1, '2026-05-01', 100, 7, 20)")
    moves = [(0, "hold", 20), (0, "capture", 20), (1, "hold", 30), (1, "release", 30), (2, "hold", 7)]
    for number, (which, kind, cents) in enumerate(moves, 1):
        cast_id = ids[which] if connection.vendor == "postgresql" else ids[which].hex
        at = text(now.replace(year=2026, month=5, day=31, hour=23))
        cursor.execute("INSERT INTO accounts_ledgerentry (id, period_id, cast_id, kind, cents, at)"
                       " VALUES (%s, 1, %s, %s, %s, %s)", [number, cast_id, kind, cents, at])
    if connection.vendor == "postgresql":
        cursor.execute("SELECT setval(pg_get_serial_sequence('accounts_ledgerentry', 'id'), 5)")
call_command("migrate", verbosity=0)
"""


class Own:
    """A database that `manage.py migrate` brought up to date, with rows from before the ledger was strict."""

    def __init__(self, folder) -> None:
        self.url = new_database(folder)
        self.environment = environment_for(folder, self.url) | {"DJANGO_SETTINGS_MODULE": "spellplatform.settings"}
        self.run("-c", collecting_nothing(OLD_ROWS), check=True)

    def run(self, *arguments, check=False):
        command = [sys.executable, *arguments]
        done = warm.run(command, cwd=ROOT, env=self.environment, capture_output=True)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def sql(self, query):
        """Run one statement as an operator's shell would; return its rows."""
        if os.environ.get("TEST_DATABASE_URL"):
            with psycopg.connect(self.url) as opened:
                cursor = opened.execute(query)
                return [tuple(map(str, row)) for row in cursor] if cursor.description else []
        file = self.url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(file, timeout=20)) as file_opened, file_opened:
            return [tuple(map(str, row)) for row in file_opened.execute(query)]


@pytest.fixture(scope="module")
@marking("processes", "database")
def own(tmp_path_factory):
    database = Own(tmp_path_factory.mktemp("own"))
    yield database
    drop_database(database.url)


@functools.cache
def refused_by_the_database() -> tuple[type[Exception], ...]:
    return (sqlite3.IntegrityError, psycopg.errors.RestrictViolation)


def test_old_entries_get_their_hold_their_day_and_their_settlement(own):
    rows = own.sql("SELECT kind, cents, hold_cents, settles, booked_on FROM accounts_ledgerentry ORDER BY id")
    true, false = ("1", "0") if own.url.startswith("sqlite") else ("True", "False")
    assert rows == [
        ("hold", "20", "20", false, "2026-05-31"),
        ("capture", "20", "20", true, "2026-05-31"),
        ("hold", "30", "30", false, "2026-05-31"),
        ("release", "30", "30", true, "2026-05-31"),
        ("hold", "7", "7", false, "2026-05-31"),
    ]
    assert own.sql("SELECT scope, ref, held_cents, captured_cents FROM accounts_budgetperiod") == [
        ("account", "", "7", "20")
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts_ledgerentry SET cents = 0 WHERE id = 1",
        "UPDATE accounts_ledgerentry SET settles = settles",
        "DELETE FROM accounts_ledgerentry WHERE id = 5",
        "DELETE FROM accounts_ledgerentry",
    ],
)
def test_nobody_changes_or_deletes_an_entry_not_even_by_hand(own, change):
    before = own.sql("SELECT * FROM accounts_ledgerentry ORDER BY id")
    with pytest.raises(refused_by_the_database(), match="append-only: book another entry"):
        own.sql(change)
    assert own.sql("SELECT * FROM accounts_ledgerentry ORDER BY id") == before


def test_nor_what_was_booked_as_credit(own):
    own.sql(
        "INSERT INTO accounts_credit (id, account_id, kind, cents, source, note, by, at)"
        " VALUES (1, 1, 'grant', 5, 'grant:1', '', '', '2026-05-01 00:00:00+00:00')"
    )
    for change in ("UPDATE accounts_credit SET cents = 6", "DELETE FROM accounts_credit"):
        with pytest.raises(refused_by_the_database(), match="append-only: book another one"):
            own.sql(change)
    assert own.sql("SELECT cents FROM accounts_credit") == [("5",)]


def test_the_ledger_is_verified_by_a_command_that_a_script_can_ask(own):
    fine = own.run("manage.py", "verifyledger")
    assert (fine.returncode, fine.stdout.strip()) == (0, "2 counters agree with the ledger.")
    own.sql("UPDATE accounts_budgetperiod SET held_cents = 8")
    differs = own.run("manage.py", "verifyledger")
    own.sql("UPDATE accounts_budgetperiod SET held_cents = 7")
    assert differs.returncode == 1
    assert "Old 2026-05: held 8, by the ledger 7; captured 20, by the ledger 20" in differs.stderr
    assert "Traceback" not in differs.stderr


def test_an_open_hold_from_before_is_settled_and_the_guards_can_be_taken_down_again(own):
    settle = (
        "import django, uuid; django.setup()\n"
        "from accounts import budget\n"
        "budget.settle(uuid.UUID(int=3), capture_cents=5)\n"
        "from django.core.management import call_command\n"
        "call_command('verifyledger')\n"
        "call_command('migrate', 'accounts', '0003', verbosity=0)\n"
        "call_command('migrate', verbosity=0)\n"
    )
    assert own.run("-c", collecting_nothing(settle), check=True).stdout.strip() == "2 counters agree with the ledger."
    rows = own.sql("SELECT kind, cents FROM accounts_ledgerentry WHERE hold_cents = 7 ORDER BY id")
    assert rows == [("hold", "7"), ("capture", "5"), ("release", "2")]
    with pytest.raises(refused_by_the_database()):
        own.sql("DELETE FROM accounts_ledgerentry")
