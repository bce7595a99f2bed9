"""Statements whose text is made once must do to every column what the ORM does."""

import datetime as dt
import importlib
import sys
import uuid

import pytest
from django.db import IntegrityError, connection, transaction
from django.forms.models import model_to_dict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey
from casts.models import Cast, CastEvent
from core.db.statements import Rows, insert, update
from tests.one_of_each import OURS, one_of_each

pytestmark = pytest.mark.django_db


def columns(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


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
        repository="owner/name",
        run_id=2**53 + 1,
        created_at=moment,
        expires_at=moment,
        due_at=None,
        output=None,
        jobs=[{"id": 1}],
    )


def test_a_row_that_is_inserted_reads_like_one_that_the_orm_saved(account, api_key, spell):
    ours, theirs = awkward(account, api_key, spell), awkward(account, api_key, spell)
    theirs.run_id += 1
    insert(ours)
    theirs.save(force_insert=True)
    read = [columns(Cast.objects.get(pk=row.pk)) for row in (ours, theirs)]
    for row in read:
        row.pop("id"), row.pop("run_id")
    assert read[0] == read[1]
    assert ours._state.adding is False
    ours.message = "saved again"
    ours.save()  # an UPDATE: the row knows that it is there
    assert Cast.objects.get(pk=ours.pk).message == "saved again"


def test_rows_are_read_as_the_orm_reads_them(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    [read] = Rows(Cast, "id", related="spell").all(cast.pk)
    usual = Cast.objects.select_related("spell").get(pk=cast.pk)
    assert columns(read) == columns(usual)
    assert columns(read.spell) == columns(usual.spell)
    assert [type(v) for v in columns(read).values()] == [type(v) for v in columns(usual).values()]
    read.save()
    assert model_to_dict(Cast.objects.get(pk=cast.pk)) == model_to_dict(usual)


def exactly(row):
    """Every column's value and type: True is no 1, and a UUID no text."""
    return {name: (type(value), value) for name, value in columns(row).items()}


def foreign_keys(model):
    return [f for f in model._meta.concrete_fields if f.many_to_one and not f.null]


def test_every_column_of_every_model_is_read_as_the_orm_reads_it(account, api_key, spell):
    """Above all foreign keys to UUIDs, which SQLite keeps as text."""
    for model, row in one_of_each(account, api_key, spell).items():
        usual = model.objects.get(pk=row.pk)
        [found] = Rows(model, model._meta.pk.name).all(row.pk)
        assert exactly(found) == exactly(usual), model
        assert [exactly(one) for one in Rows(model, model._meta.pk.name).among([row.pk])] == [exactly(usual)], model
        for field in foreign_keys(model):
            of_related = Rows(model, model._meta.pk.name, related=field.name).first(row.pk)
            assert exactly(getattr(of_related, field.name)) == exactly(getattr(usual, field.name)), field
            found_by_it = Rows(model, field.name).all(getattr(row, field.attname))
            assert exactly(usual) in [exactly(one) for one in found_by_it], field


def test_every_column_of_every_model_is_written_as_the_orm_writes_it(account, api_key, spell):
    for model, row in one_of_each(account, api_key, spell).items():
        writable = {f.attname: getattr(row, f.attname) for f in model._meta.concrete_fields if not f.primary_key}
        before = exactly(model.objects.get(pk=row.pk))
        if model.__name__ == "LedgerEntry":
            continue  # never changed, says a trigger
        assert update(row, writable), model
        assert exactly(model.objects.get(pk=row.pk)) == before, model


def test_what_is_read_by_statements_is_read_alike_wherever_they_are_used(account, api_key, spell):
    """The statements that modules keep, each against the ORM."""
    importlib.import_module("spellplatform.urls")
    rows = one_of_each(account, api_key, spell)
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] in OURS]
    kept = {kept for module in ours for kept in vars(module).values() if isinstance(kept, Rows)}
    assert {r.model.__name__ for r in kept} >= {"ApiKey", "Artifact", "BudgetPeriod", "Cast", "IdempotencyRecord"}
    for statement in kept:
        row = rows[statement.model]
        by = [getattr(row, statement.model._meta.get_field(name).attname) for name in statement.by]
        more = [] if not statement.also.count("%s") else ["7", "nothing"]
        [found] = [r for r in statement.all(*by, *more) if r.pk == row.pk]
        usual = statement.model.objects.get(pk=row.pk)
        assert read_of(found) == read_of(usual, leaving_out=found.get_deferred_fields()), statement.model
        if statement.related:
            other = getattr(found, statement.related)
            left_out = other.get_deferred_fields()
            assert read_of(other) == read_of(getattr(usual, statement.related), leaving_out=left_out), statement.model


def read_of(row, leaving_out=frozenset()):
    """What was read of a row, as `exactly`; reading the rest would be another query."""
    names = [f.attname for f in row._meta.concrete_fields]
    names = [name for name in names if name not in leaving_out | row.get_deferred_fields()]
    return {name: (type(getattr(row, name)), getattr(row, name)) for name in names}


def test_columns_that_were_left_out_are_read_when_asked_for(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    found = Rows(Cast, "id", related="spell", of_related=("id", "key")).first(cast.pk)
    with CaptureQueriesContext(connection) as queries:
        assert found.spell.key == spell.key
        assert not queries
        assert found.spell.price_cents == spell.price_cents
        assert len(queries) == 1


def test_nothing_is_found_where_nothing_is():
    assert Rows(ApiKey, "prefix", related="account").first("sk_live_spl_nobodys_") is None
    assert Rows(Cast, "id").all(uuid.uuid4()) == []


def test_an_update_writes_what_it_names_and_says_whether_it_did(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    now = timezone.now()
    assert update(
        cast, {"output": {"a": "b"}, "started_at": now, "error": None}, only="status IN ('queued', 'running')"
    )
    read = Cast.objects.get(pk=cast.pk)
    assert (read.output, read.started_at, read.error) == ({"a": "b"}, now, None)
    assert not update(cast, {"progress": 50}, only="status = 'running'")
    assert Cast.objects.get(pk=cast.pk).progress == 0
    assert not update(Cast(pk=uuid.uuid4()), {"progress": 50})


def test_what_the_database_refuses_is_django_s_error_and_breaks_the_transaction(account, api_key, spell):
    cast = awkward(account, api_key, spell)
    cast.save(force_insert=True)
    event = {"cast": cast, "seq": 1, "kind": "accepted", "data": {}, "at": timezone.now()}
    insert(CastEvent(**event))
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(CastEvent(**event))
    assert CastEvent.objects.count() == 1


def test_text_that_looks_like_sql_stays_text(account):
    named = ApiKey(account=account, name="x'); DROP TABLE casts_cast; --", prefix="p", digest="d", scopes=[])
    insert(named)
    assert Rows(ApiKey, "name").first(named.name).prefix == "p"
