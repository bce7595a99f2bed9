"""Events and deliveries have a part of their table for each month on Postgres."""

import datetime as dt
import importlib
import re
import uuid
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from casts.lifecycle import events
from casts.live import openings
from casts.models import Cast, CastEvent
from core.admin import months as trouble
from core.db import months
from core.ids import first_id, first_number
from core.queue.due import statements
from webhooks import inbox
from webhooks.models import Delivery

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has ordinary tables"),
]
MODELS = (CastEvent, Delivery)


def later(number: int) -> dt.datetime:
    """The middle of a month, counted from this one."""
    return months.month_of(timezone.now(), number) + dt.timedelta(days=14)


def add_event(at: dt.datetime, *, cast_id: uuid.UUID | None = None, **fields: object) -> CastEvent:
    cast_id = cast_id or uuid.UUID(int=first_id(at).int + uuid.uuid4().int % 2**60)
    return CastEvent.objects.create(**{"cast_id": cast_id, "seq": 1, "kind": "x", "data": {}, "at": at} | fields)


def add_delivery(at: dt.datetime, guid: str, **fields: object) -> Delivery:
    number = first_number(at) + Delivery.objects.count()
    settled = {"outcome": "applied", "applied_at": at}
    return Delivery.objects.create(id=number, guid=guid, event="ping", body="{}", received_at=at, **settled | fields)


def part_of(row) -> str:
    table = row._meta.db_table
    [(name,)] = months.rows_of(f"SELECT tableoid::regclass::text FROM {table} WHERE id = %s", row.pk)
    return name.removeprefix(f"{table}_")


def name_of(number: int) -> str:
    return f"{later(number):%Y_%m}"


def read_through(table: str) -> int:
    """Return how many rows of a table's parts this transaction has read one after the other."""
    [(number,)] = months.rows_of(
        "SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables WHERE relname LIKE %s", f"{table}%"
    )
    return int(number)


def test_a_guid_is_looked_up_by_its_key_also_if_its_part_was_empty_when_that_was_planned():
    table = Delivery._meta.db_table
    months.run("TRUNCATE {table}", table=table)
    months.run("ANALYZE {table}", table=table)
    first = first_number(later(0))
    rows = [Delivery(id=first + n, guid=str(n), event="ping", body="{}", received_at=later(0)) for n in range(101)]
    rows[0].save(force_insert=True)  # this connection plans it now
    Delivery.objects.bulk_create(rows[1:-1])
    read = read_through(table)
    rows[-1].save(force_insert=True)
    assert read_through(table) == read


@pytest.mark.parametrize("model", MODELS)
def test_migrate_makes_this_month_and_the_next_ones(model):
    there = months.parts_of(model)
    assert all(months.has_part(there, model.months.first(later(n))) for n in range(months.AHEAD + 1))
    assert there[0].begin is None, "what was there before"
    assert months.missing(model, there) is None
    months.ensure()
    assert months.parts_of(model) == there, "made once"


def test_rows_lie_where_their_time_says_and_the_rest_takes_what_has_none():
    assert part_of(add_event(timezone.now())) == part_of(add_event(later(-30))) == "first"
    assert part_of(add_event(later(2))) == name_of(2)
    assert part_of(add_event(later(40))) == "rest"
    random = add_event(timezone.now(), cast_id=uuid.UUID("f3a1c2d4-9b0e-4c1a-8d2f-5e6a7b8c9d0e"))
    assert part_of(random) == "rest"
    assert months.in_rest(CastEvent, months.parts_of(CastEvent), 10) == 1, "the random one is in no month"
    stored = Delivery.objects.create(guid="new", event="ping", body="{}", received_at=timezone.now())
    assert stored.pk >= first_number(months.month_of(timezone.now())), "the database has given it an id with its time"
    assert part_of(stored) == "first"


def test_bodies_are_compressed_with_lz4_in_every_part_those_made_later_too():
    [(known,)] = months.rows_of("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
    if "lz4" not in known:
        pytest.skip("this Postgres was built without lz4")
    table = Delivery._meta.db_table
    months.make_like(table, f"{table}_made_later", keys=())
    how = months.rows_of(
        "SELECT c.relname, a.attcompression FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE a.attname = 'body' AND c.relkind IN ('r', 'p') AND c.relname LIKE %s",
        f"{table}%",
    )
    assert len(how) >= 6  # the whole, the first, the rest, two months, and the new one
    assert {name for name, compression in how if compression != "l"} == set()


def test_a_guid_is_stored_once_whatever_its_month():
    add_delivery(later(0), "one")
    for number in (0, 1, 2):
        with pytest.raises(IntegrityError, match="GUID is stored"), transaction.atomic():
            add_delivery(later(number), "one")
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.bulk_create(
            [Delivery(guid="two", event="ping", body="{}", received_at=timezone.now()) for _ in range(2)]
        )


@pytest.mark.parametrize("model", MODELS)
def test_a_month_that_was_missing_gets_its_rows_from_the_rest(model, monkeypatch):
    add: Any = {CastEvent: add_event, Delivery: lambda at: add_delivery(at, "late")}[model]
    table, soon = model._meta.db_table, later(months.AHEAD + 1)
    row = add(soon)
    assert part_of(row) == "rest"
    monkeypatch.setattr(timezone, "now", lambda: soon)
    admin = User(is_superuser=True)
    named = {one.what for one in troubles_for(admin)}
    assert {f"{table} has no part for {soon:%B %Y}", f"{table}_rest holds rows of some month"} <= named
    monkeypatch.setattr(months, "MOST_MOVED", 0)
    with pytest.raises(months.NotNow, match="has more than 0 rows"):
        months.make_months(model, most_moved=0)
    months.ensure()
    assert part_of(row) == name_of(0)
    assert model.objects.get(pk=row.pk)
    assert not any(table in one.what for one in troubles_for(admin))


def troubles_for(user):
    section = trouble.attention(user)
    assert section is not None
    return section.troubles


def touched(run) -> list[set[str]]:
    """The parts that each statement of `run` reads or writes, but for those that a plan finds it need not look into."""
    with CaptureQueriesContext(connection) as captured:
        run()
    asked = [q["sql"] for q in captured.captured_queries if re.search("casts_castevent|webhooks_delivery", q["sql"])]
    found = []
    for one in asked:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {one}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        found.append(set(re.findall(r"(?:casts_castevent|webhooks_delivery)_(first|rest|\d{4}_\d\d)", plan)))
    return found


def test_what_streams_and_pages_ask_about_casts_looks_into_their_months_alone(cast):
    asked = {
        "opened with Last-Event-ID": lambda: openings.frames_since({cast.pk: 1}),
        "opened": lambda: openings.newest_frames({cast.pk}),
        "opened on its end": lambda: openings.end_numbers({cast.pk}),
        "told of news": lambda: list(CastEvent.objects.filter(cast__in=[cast.pk], pk__gt=0)),
        "the timeline": lambda: list(cast.events.order_by("seq")),
    }
    assert {name: touched(run) for name, run in asked.items()} == {name: [{"first"}] for name in asked}
    two = {first_id(later(1)), first_id(later(2))}
    assert touched(lambda: openings.newest_frames(two)) == [{name_of(1), name_of(2)}]


def test_what_workers_ask_about_a_delivery_looks_into_its_month_alone():
    row = add_delivery(later(1), "claimed", due_at=timezone.now(), applied_at=None, outcome="pending")
    some = Delivery.due_rows().filter(pk__in=[row.pk])
    asked = {
        "locked": lambda: list(some.order_by("pk").select_for_update(no_key=True)),
        "woken": lambda: some.wake(),
        "its claim": lambda: list(row.mine()),
        "the admin's page": lambda: Delivery.objects.get(pk=row.pk),
    }
    assert {name: touched(run) for name, run in asked.items()} == {name: [{name_of(1)}] for name in asked}
    # And the compiled ones find it at all.
    [claimed] = Delivery.due_rows().claim(limit=5, lease=dt.timedelta(minutes=1))
    assert claimed.give_back(None)
    assert statements(Delivery).rows.all(keys=[row.pk]) == [row]


def test_a_past_month_is_dropped_unless_something_in_it_must_stay():
    add_event(later(1))
    kept = add_event(later(2))
    before = later(4)

    def drop(**how):
        return months.drop_months(CastEvent, before, **{"stays": lambda part: False} | how)

    first, soon, last = [part.name for part in months.parts_of(CastEvent)]
    assert months.drop_months(CastEvent, later(0), stays=lambda part: False) == []
    assert drop(stays=lambda part: True) == drop(reopened=lambda part: True) == []

    def came_meanwhile(part):
        add_event(later(1))
        return part.name != soon

    assert drop(stays=came_meanwhile) == []
    assert drop(stays=lambda part: part.of(CastEvent.objects.filter(pk=kept.pk)).exists()) == [first, soon]
    assert [*CastEvent.objects.all()] == [kept]
    assert part_of(kept) == last.removeprefix("casts_castevent_")


def test_a_past_month_of_events_is_dropped_once_it_is_empty_and_its_casts_have_ended(cast, monkeypatch):
    names = [part.name for part in months.parts_of(CastEvent)]
    at = later(2)
    monkeypatch.setattr(timezone, "now", lambda: at)
    events.drop_months()
    assert [part.name for part in months.parts_of(CastEvent)] == [names[0], *names[2:]], "the first has a history"
    CastEvent.objects.all().delete()
    events.drop_months()
    assert months.parts_of(CastEvent)[0].name == names[0], "its cast is open, and will have events"
    Cast.objects.filter(pk=cast.pk).update(status="failed", finished_at=timezone.now())
    events.drop_months()
    assert [part.name for part in months.parts_of(CastEvent)] == names[2:]


def test_settled_deliveries_go_with_their_month_and_open_ones_keep_it(monkeypatch, settings):
    gone, stays = add_delivery(later(1), "gone"), add_delivery(later(2), "stays", outcome="pending", applied_at=None)
    settings.PURGE_WHOLE_MONTHS, kept = True, name_of(2)
    lately = add_delivery(later(2), "settled")
    tenth, following = (months.month_of(later(number)) + dt.timedelta(days=10) for number in (3, 4))
    monkeypatch.setattr(timezone, "now", lambda: tenth)
    inbox.purge()
    assert not Delivery.objects.filter(pk=gone.pk).exists()
    assert months.parts_of(Delivery)[0].name == f"webhooks_delivery_{kept}"
    assert set(Delivery.objects.all()) == {stays, lately}, "its month is not over for thirty days yet"
    monkeypatch.setattr(timezone, "now", lambda: following)
    inbox.purge()
    assert set(Delivery.objects.all()) == {stays}, "its month could not be dropped: the others went one by one"
    assert part_of(stays) == kept


@pytest.mark.parametrize(
    ("module", "table"),
    [
        ("casts.migrations.0035_events_by_month", "casts_castevent"),
        ("webhooks.migrations.0009_deliveries_by_month", "webhooks_delivery"),
    ],
)
def test_migrating_back_and_forth_keeps_every_row_and_name(module, table, make_cast):
    [operation] = importlib.import_module(module).Migration.operations
    model = {m._meta.db_table: m for m in MODELS}[table]

    def add(at):
        if model is Delivery:
            return add_delivery(at, uuid.uuid4().hex)
        cast_id = uuid.UUID(int=first_id(at).int + uuid.uuid4().int % 2**60)
        with mock.patch.object(Cast._meta.get_field("id"), "_get_default", return_value=cast_id):
            return make_cast().events.get()

    rows = {add(later(number)).pk for number in (-3, 0, 1, 40)}
    parted = described(table)
    operation.make_one(table)
    connection.check_constraints()
    assert not months.is_parted(table)
    assert {*operation.keys, *operation.references} <= set(described(table))
    assert set(model.objects.values_list("pk", flat=True)) == rows
    rows.add(add(timezone.now()).pk)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    if model is Delivery:  # its next number, from the table's own counter, is above all those with a time
        assert Delivery.objects.create(guid="next", event="x", body="", received_at=timezone.now()).pk > max(rows)
        Delivery.objects.filter(guid="next").delete()
    operation.part(table)
    months.make_months(model)
    assert described(table) == parted
    assert set(model.objects.values_list("pk", flat=True)) == rows


def described(table: str) -> list[str]:
    """The names and definitions of a table's columns, keys and indexes."""
    asked = (
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attidentity::text || attnotnull::text "
        "FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(%s)",
        "SELECT indexdef FROM pg_indexes WHERE tablename = %s",
    )
    return sorted(text for query in asked for (text,) in months.rows_of(query, table))
