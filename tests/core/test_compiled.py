"""What is compiled once must read and write every column as the ORM does."""

import datetime as dt
import importlib
import sys
import uuid
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import DataError, IntegrityError, connection, models, transaction
from django.db.models import F, Q, sql
from django.forms.models import model_to_dict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey, BudgetPeriod
from casts.models import Cast, CastEvent
from core.db import compiled
from core.db.append_only import History
from core.db.compiled import Firsts, Insert, OneOf, Param, Params, Select, Update
from core.queue.due import DueRow, statements
from tests.one_of_each import MOMENT, OURS, every_model, one_of_each

pytestmark = pytest.mark.django_db


def awkward(account, api_key, spell):
    """Every kind of column, each with what is most easily lost: zones, microseconds, quotes, percent signs, null."""
    moment = dt.datetime(2026, 3, 1, 1, 2, 3, 456789, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
    return Cast(
        account=account,
        api_key=api_key,
        spell=spell,
        input={"text": 'it\'s 100 % "so" \\ \u2603 %s', "n": [1, 2.5, None, True]},
        metadata={},
        cost_cents=7,
        message="%s %(name)s '; --",
        run_scope="owner/name",
        run_key=str(2**53 + 1),
        created_at=moment,
        expires_at=moment,
        due_at=None,
        output=None,
        jobs=[{"id": 1}],
    )


def exactly(row, referring=None):
    """All that is known of a row: what was read, in which types, what was not, and of the rows that it refers to.

    True is no 1, and a UUID no text. A row that belongs to one other refers back to it.
    """
    if row is None:
        return None
    read = {name: (type(value), value) for name, value in vars(row).items() if name != "_state"}
    cached = row._state.fields_cache.items()
    referred = {name: "back" if other is referring else exactly(other, row) for name, other in cached}
    return type(row), read, row.get_deferred_fields(), row._state.db, row._state.adding, referred


@pytest.fixture
def given(monkeypatch):
    """Lets the ORM itself run a query with Params, which have these values."""

    @contextmanager
    def given(values):
        with monkeypatch.context() as patched:
            patched.setattr(Param, "as_sql", lambda self, *_: ("%s", [self.prepared(values[self.name], connection)]))
            yield

    return given


def select(queryset):
    return Select(lambda: queryset)


def update(queryset, **changes):
    return Update(lambda: queryset, **changes)


def values_for(statement, row):
    """What a statement is to be given so that it finds this row."""
    values = {}
    for _, param in statement.places:
        value = getattr(row, param.of.attname)
        values[param.name] = [value] if isinstance(param, Params) else value
    return values


def key(model, name="id"):
    return Param(model, model._meta.pk.name, name)


def foreign_keys(model):
    return [f for f in model._meta.concrete_fields if f.many_to_one]


def test_every_column_of_every_model_is_read_as_the_orm_reads_it(account, api_key, spell, given):
    """Above all foreign keys to UUIDs, which SQLite keeps as text."""
    for model, row in one_of_each(account, api_key, spell).items():
        rows, keys = model.objects, Params(model, model._meta.pk.name, "ids")
        usual = [exactly(rows.get(pk=row.pk))]
        assert [exactly(one) for one in select(rows.filter(pk=key(model))).all(id=row.pk)] == usual, model
        assert [exactly(one) for one in select(rows.filter(OneOf("pk", keys))).all(ids=[row.pk])] == usual, model
        for field in foreign_keys(model):
            one, several = Param(model, field.name, "one"), Params(model, field.name, "several")
            value = getattr(row, field.attname)
            asked: list[tuple[Any, dict[str, Any]]] = [
                (rows.select_related(field.name).filter(pk=key(model)), {"id": row.pk}),
                (rows.filter(**{field.name: one}), {"one": value}),
                (rows.filter(OneOf(field.attname, several)), {"several": [value]}),
            ]
            # A callback is about a cast or an event; nothing equals NULL.
            for queryset, values in asked if value is not None else asked[:1]:
                with given(values):
                    theirs = list(queryset.all())
                assert row in theirs, field
                assert [exactly(r) for r in select(queryset).all(**values)] == [exactly(r) for r in theirs], field


def test_every_column_of_every_model_is_written_as_the_orm_writes_it(account, api_key, spell):
    for model, row in one_of_each(account, api_key, spell).items():
        writable = {f.attname: getattr(row, f.attname) for f in model._meta.concrete_fields if not f.primary_key}
        before = exactly(model.objects.get(pk=row.pk))
        if issubclass(model, History):
            continue  # never changed, says a trigger
        rewrite = update(model.objects.filter(pk=key(model)))
        assert rewrite.run(writable, id=row.pk) == 1, model
        assert exactly(model.objects.get(pk=row.pk)) == before, model
        assert [exactly(one) for one in rewrite.rows(writable, id=row.pk)] == [before], model
        assert exactly(model.objects.get(pk=row.pk)) == before, model
        absent = uuid.uuid4() if isinstance(row.pk, uuid.UUID) else 2**15 - 1
        assert rewrite.each([(writable, {"id": absent}), (writable, {"id": row.pk})]) == 1, model
        assert exactly(model.objects.get(pk=row.pk)) == before, model


@pytest.mark.parametrize("number", [1, 2])
def test_every_column_of_every_model_is_inserted_as_the_orm_inserts_it(account, api_key, spell, monkeypatch, number):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    for model, row in one_of_each(account, api_key, spell).items():
        query = sql.InsertQuery(model)
        fields = [f for f in model._meta.concrete_fields if not isinstance(f, models.AutoField)]
        # What is NULL anyhow is not written.
        fields = [f for f in fields if getattr(row, f.attname) is not None or compiled.stamped(f)]
        query.insert_values(fields, [row] * number)
        theirs = query.get_compiler(connection=connection).as_sql()
        execute = Mock()
        with monkeypatch.context() as patched:
            patched.setattr(compiled, "execute", execute)
            Insert(model).all([row] * number)
        ours = [call.args[:2] for call in execute.call_args_list]
        ours = [(text.replace("(%b)::", "(%s)::"), params) for text, params in ours]
        assert [(text, plain(params)) for text, params in ours] == [(text, plain(params)) for text, params in theirs]


def plain(params):
    """Parameters with their types; psycopg's wrapped JSON has no equality."""
    return [
        plain(param) if isinstance(param, list) else (type(param), getattr(param, "obj", param)) for param in params
    ]


def test_several_rows_are_one_statement_however_many_they_are_and_keep_their_order(make_cast):
    cast, insert = make_cast(), Insert(CastEvent)
    at = timezone.now()
    for numbers in ([2, 3], [], [4], [5, 6, 7], [8, 9]):
        rows = [CastEvent(cast=cast, seq=n, kind=f"n{n}", data={"n": [n, None, "é%s"]}, at=at) for n in numbers]
        with CaptureQueriesContext(connection) as asked:
            insert.all(rows)
        assert len(asked) == bool(numbers)
    stored = CastEvent.objects.filter(cast=cast, seq__gt=1).order_by("pk")
    assert [(e.seq, e.kind, e.data["n"]) for e in stored] == [(n, f"n{n}", [n, None, "é%s"]) for n in range(2, 10)]


def kept(kind):
    """What our modules keep of a kind, and what each queue does."""
    importlib.import_module("spellplatform.urls")
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] in OURS]
    queues = [statements(model) for model in every_model() if issubclass(model, DueRow)]
    found = [one for holder in (*ours, *queues) for held in vars(holder).values() for one in flat(held)]
    return {one for one in found if isinstance(one, kind)}


def flat(held):
    return held.values() if isinstance(held, dict) else [held]


def test_what_modules_read_by_compiled_statements_is_read_as_by_the_orm(account, api_key, spell, given):
    rows = one_of_each(account, api_key, spell)
    read = set()
    for statement in kept(Select):
        queryset = statement.build()
        values = values_for(statement._reading.statement, rows[queryset.model])
        with given(values):
            theirs = list(queryset)
        assert rows[queryset.model] in theirs, statement._reading.statement.text
        assert [exactly(one) for one in statement.all(**values)] == [exactly(one) for one in theirs], queryset.model
        read.add(queryset.model.__name__)
    assert read >= {"ApiKey", "Artifact", "BudgetPeriod", "Cast", "IdempotencyRecord", "Spell"}


def test_what_modules_write_by_compiled_statements_is_written_as_by_the_orm(account, api_key, spell, given):
    rows = one_of_each(account, api_key, spell)
    for scope in ("account", "spell"):
        BudgetPeriod.objects.create(account=account, month=rows[BudgetPeriod].month, scope=scope, ref="7")
    BudgetPeriod.objects.create(account=account, month=BudgetPeriod.ALL_MONTHS, scope="credit", cap_cents=2**62)

    def written(row, write, *, times):
        """What there is after it, and how many rows it says it wrote to: to a row with all its times, or with none."""
        with transaction.atomic():
            if not times:
                may_be_null = [f for f in row._meta.concrete_fields if f.null and isinstance(f, models.DateTimeField)]
                type(row).objects.update(**dict.fromkeys([field.name for field in may_be_null]))
            count = write()
            after = [exactly(one) for one in type(row).objects.order_by("pk")]
            transaction.set_rollback(True)
        return count, after

    for statement in kept(Update):
        queryset = statement.build()
        row = rows[queryset.model]
        also = {} if statement.changes else {f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields[1:]}
        if "finished_at" in statement.changes:
            also["status"] = "succeeded"  # a constraint wants both
        text = statement._compiled(frozenset(also))
        values = {name: value for name, value in values_for(text, row).items() if not name.startswith("new ")}
        values |= {name: MOMENT for name in values if values[name] is None}
        # Some count milliseconds.
        values |= {"now": MOMENT - dt.timedelta(days=1)} if isinstance(values.get("now"), dt.datetime) else {}
        counts = set()
        for times in (True, False):
            ours = written(row, partial(statement.run, also, **values), times=times)
            with given(values):
                theirs = written(row, partial(queryset.all().update, **statement.changes, **also), times=times)
            assert ours == theirs, text.text
            counts.add(ours[0])
        assert max(counts) >= 1, text.text


def test_a_row_that_is_inserted_reads_like_one_that_the_orm_saved(account, api_key, spell):
    ours, theirs = awkward(account, api_key, spell), awkward(account, api_key, spell)
    theirs.run_key = "another"
    Insert(Cast).run(ours)
    theirs.save(force_insert=True)
    read = [exactly(Cast.objects.get(pk=row.pk))[1] for row in (ours, theirs)]
    for row in read:
        row.pop("id"), row.pop("run_key")
    assert read[0] == read[1]
    assert ours._state.adding is False
    ours.message = "saved again"
    ours.save()  # an UPDATE: the row knows that it is there
    assert Cast.objects.get(pk=ours.pk).message == "saved again"


def test_a_row_that_was_read_can_be_saved(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    [read] = select(Cast.objects.filter(pk=key(Cast)).select_related("spell")).all(id=cast.pk)
    read.save()
    assert model_to_dict(Cast.objects.get(pk=cast.pk)) == model_to_dict(read)


def test_columns_that_were_left_out_are_read_when_asked_for(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    some = select(Cast.objects.select_related("spell").only("spell__key").filter(pk=key(Cast)))
    found = some.first(id=cast.pk)
    with CaptureQueriesContext(connection) as queries:
        assert found.spell.key == spell.key
        assert not queries
        assert found.spell.price_cents == spell.price_cents
        assert len(queries) == 1


def test_the_first_values_of_several_queries_are_those_that_the_orm_reads(account, api_key, spell):
    queries = [
        Cast.objects.order_by("created_at").values_list("created_at"),
        Cast.objects.filter(message="50 % of '%s'").order_by("pk").values_list("pk"),
        ApiKey.objects.order_by("-pk").values_list("scopes"),
        Cast.objects.filter(status="ended, perhaps").values_list("due_at"),
    ]
    first = Firsts(lambda: queries)
    assert first.all() == [None, None, api_key.scopes, None]
    awkward(account, api_key, spell).save()
    awkward_too = awkward(account, api_key, spell)
    awkward_too.run_key, awkward_too.message = "2", "50 % of '%s'"
    awkward_too.save()
    with CaptureQueriesContext(connection) as asked:
        found = first.all()
    assert len(asked) == 1
    read = [next(value for (value,) in query) for query in queries[:3]]
    assert [(type(value), value) for value in found] == [*((type(value), value) for value in read), (type(None), None)]


def test_nothing_is_found_where_nothing_is():
    assert select(ApiKey.objects.filter(prefix=Param(ApiKey, "prefix"))).first(prefix="nobodys") is None
    assert select(Cast.objects.filter(pk=key(Cast))).all(id=uuid.uuid4()) == []
    assert select(Cast.objects.filter(OneOf("pk", Params(Cast, "id")))).all(id=[]) == []


def test_an_update_writes_what_it_names_and_says_to_how_many_rows(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    now = timezone.now()
    open_cast = update(Cast.objects.filter(pk=key(Cast), status__in=("queued", "running")))
    assert open_cast.run({"output": {"a": "b"}, "started_at": now, "error": None}, id=cast.pk) == 1
    read = Cast.objects.get(pk=cast.pk)
    assert (read.output, read.started_at, read.error) == ({"a": "b"}, now, None)
    running = Update(
        lambda: Cast.objects.filter(pk=key(Cast), status=Param(Cast, "status")), progress=F("progress") + 1
    )
    assert running.run(id=cast.pk, status="running") == 0
    assert Cast.objects.get(pk=cast.pk).progress == 0
    assert running.run({"status": "running"}, id=cast.pk, status="queued") == 1  # one column, compared and written
    read = Cast.objects.get(pk=cast.pk)
    assert (read.progress, read.status) == (1, "running")
    assert open_cast.run({"progress": 50}, id=uuid.uuid4()) == 0
    assert open_cast.rows({"progress": 50}, id=uuid.uuid4()) == []
    [written] = running.rows(id=cast.pk, status="running")
    assert (written.pk, written.progress, written.last_seq) == (cast.pk, 2, 0)


def test_rows_with_values_of_their_own_are_written_together(make_cast):
    casts = [make_cast() for _ in range(3)]
    queued = Update(lambda: Cast.objects.filter(pk=key(Cast), status="queued"), last_seq=F("last_seq") + 1)
    written = [
        ({"message": f"no. {n} é%s", "jobs": [{"n": n}], "started_at": None}, {"id": c.pk}) for n, c in enumerate(casts)
    ]
    Cast.objects.filter(pk=casts[1].pk).update(status="running")
    with CaptureQueriesContext(connection) as asked:
        assert queued.each(written) == 2
    assert len(asked) == (1 if connection.vendor == "postgresql" else 3)
    read = {cast.pk: (cast.message, cast.jobs, cast.last_seq) for cast in Cast.objects.all()}
    before = (casts[1].message, casts[1].jobs, casts[1].last_seq)
    assert [read[cast.pk] for cast in casts] == [("no. 0 é%s", [{"n": 0}], 2), before, ("no. 2 é%s", [{"n": 2}], 2)]
    assert queued.each([]) == 0


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite does not look at lengths")
def test_text_that_is_too_long_is_refused_also_where_rows_are_written_together(make_cast):
    rows = [({"run_scope": "x" * 10_000}, {"id": make_cast().pk}) for _ in range(2)]
    with pytest.raises(DataError), transaction.atomic():
        update(Cast.objects.filter(pk=key(Cast))).each(rows)


def test_a_value_is_given_for_each_param_and_for_nothing_else(account):
    one = select(ApiKey.objects.filter(prefix=Param(ApiKey, "prefix")))
    for wrong in ({}, {"prefix": "p", "name": "n"}, {"name": "n"}):
        with pytest.raises(TypeError, match="takes"):
            one.all(**wrong)


def test_a_param_is_not_compared_with_null():
    """It would find nothing, whatever is there."""
    runless = select(Cast.objects.filter(run_key=Param(Cast, "run_key")))
    with pytest.raises(TypeError, match="NULL"):
        runless.all(run_key=None)


def test_a_param_takes_part_in_conditions_and_in_sums(account):
    period = BudgetPeriod.objects.create(account=account, month=dt.date(2026, 3, 1), cap_cents=2**62, held_cents=5)
    cents = Param(BudgetPeriod, "held_cents", "cents")
    room = Q(cap_cents=None) | Q(cap_cents__gte=F("held_cents") + cents)
    hold = update(BudgetPeriod.objects.filter(room, pk=key(BudgetPeriod)), held_cents=F("held_cents") + cents)
    assert hold.run(id=period.pk, cents=2**61) == 1
    assert hold.run(id=period.pk, cents=2**61) == 0
    period.refresh_from_db()
    assert period.held_cents == 2**61 + 5


@pytest.mark.django_db(transaction=True)
def test_rows_are_locked_within_a_transaction_alone(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    locked = select(Cast.objects.filter(pk=key(Cast)).select_for_update())
    with transaction.atomic():
        assert locked.first(id=cast.pk) == cast
    with pytest.raises(transaction.TransactionManagementError):
        locked.first(id=cast.pk)


def test_what_the_database_refuses_is_django_s_error_and_breaks_the_transaction(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    event = {"cast": cast, "seq": 1, "kind": "accepted", "data": {}, "at": timezone.now()}
    Insert(CastEvent).run(CastEvent(**event))
    with pytest.raises(IntegrityError), transaction.atomic():
        Insert(CastEvent).run(CastEvent(**event))
    assert CastEvent.objects.count() == 1


def test_text_that_looks_like_sql_stays_text(account):
    named = ApiKey(account=account, name="x'); DROP TABLE casts_cast; --", prefix="p", digest="d", scopes=[])
    Insert(ApiKey).run(named)
    assert select(ApiKey.objects.filter(name=Param(ApiKey, "name"))).first(name=named.name).prefix == "p"
