"""Statements that the ORM compiles once, for the few places that every request, webhook or step passes.

Django's ORM composes each statement anew, which takes several times as long as the database takes to run it. Here a
statement is written as any other query, beside its model's other queries, with a `Param` for each value that is known
only when it runs; it is compiled at its first use. On Postgres it is prepared as well, so the server plans it once.

The constants in a statement become parameters too. A plan that Postgres makes for all values can't use a partial
index whose condition it would have to prove from them, so such queries are better left to the ORM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections, models, transaction
from django.db.models import F, Lookup, sql
from django.db.models.expressions import Expression
from django.db.models.query import get_related_populators

M = TypeVar("M", bound=models.Model)
if TYPE_CHECKING:
    AnyLookup = Lookup[Any]
else:
    AnyLookup = Lookup


def own_connection() -> Any:
    """Return this thread's connection: Django's proxy looks for it at each of the hundreds of accesses of a request."""
    return connections[DEFAULT_DB_ALIAS]


def execute(text: str, params: Sequence[Any], own: Any) -> Any:
    """Run a statement through Django, which translates errors and logs; return its cursor."""
    if own.vendor == "postgresql":
        # Django's own cursor binds in the client: each text is another one, which the server must plan anew.
        own.ensure_connection()
        bound: Any = psycopg.Cursor(own.connection)
        cursor = own.make_debug_cursor(bound) if own.queries_logged else own.make_cursor(bound)
    else:
        cursor = own.cursor()
    cursor.execute(text, params)
    return cursor


class Param(Expression):
    """A value that is given, by `name`, when the statement runs; written to the database as its field is.

    In a condition it is never None, since `x = NULL` finds nothing: where a column may be null, write two statements.
    """

    for_save = False

    def __init__(self, model: type[models.Model], field: str, name: str = "") -> None:
        of: Any = model._meta.get_field(field)
        self.of, self.name = of, name or of.attname
        super().__init__(output_field=of)

    def resolve_expression(
        self,
        query: Any = None,
        allow_joins: bool = True,
        reuse: set[str] | None = None,
        summarize: bool = False,
        for_save: bool = False,
    ) -> Any:
        resolved: Any = super().resolve_expression(query, allow_joins, reuse, summarize, for_save)
        # Django says so for a value to be stored, and not for one to be compared.
        resolved.for_save = for_save
        return resolved

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        # The parameter is this object itself; `Statement` puts the value in its place.
        return "%s", [self]

    def prepared(self, value: Any, own: Any) -> Any:
        """Return a value as the database takes it. Raise TypeError for None in a condition."""
        if self.for_save:
            return self.of.get_db_prep_save(value, own)
        if value is None:
            raise TypeError(f"{self.name} is compared with a column, and nothing equals NULL.")
        return self.of.get_db_prep_value(value, own)


class Params(Param):
    """Any number of values, for `OneOf`."""

    def prepared(self, value: Any, own: Any) -> Any:
        # One parameter: an array on Postgres; SQLite has no arrays, but reads JSON.
        values = [super(Params, self).prepared(one, own) for one in value]
        return values if own.vendor == "postgresql" else json.dumps(values)


class OneOf(AnyLookup):
    """Whether a column has one of these values: `column__in`, in one text however many they are.

    SQLite is given them as JSON, so the column holds numbers or text there (as UUIDs are).
    """

    def __init__(self, column: str | Expression, values: Params) -> None:
        super().__init__(F(column) if isinstance(column, str) else column, values)

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return self._with("= ANY({})", compiler, connection)

    def as_sqlite(self, compiler: Any, connection: Any) -> Any:
        return self._with("IN (SELECT value FROM json_each({}))", compiler, connection)

    def _with(self, form: str, compiler: Any, connection: Any) -> Any:
        column, before = self.process_lhs(compiler, connection)
        values, after = compiler.compile(self.rhs)
        return f"{column} {form.format(values)}", [*before, *after]


class Statement:
    """A compiled text, and where in its parameters the values go."""

    def __init__(self, text: str, params: Sequence[Any]) -> None:
        self.text, self.params = text, list(params)
        self.places = [(place, param) for place, param in enumerate(params) if isinstance(param, Param)]
        self.names = {param.name for _, param in self.places}

    def run(self, values: Mapping[str, Any]) -> Any:
        """Run it and return its cursor. Raise TypeError for missing or unknown values."""
        if values.keys() != self.names:
            raise TypeError(f"This statement takes {sorted(self.names)}, not {sorted(values)}: {self.text}")
        own, params = own_connection(), self.params.copy()
        for place, param in self.places:
            params[place] = param.prepared(values[param.name], own)
        return execute(self.text, params, own)


class Reading(NamedTuple):
    """A compiled SELECT, and how its rows become objects; see django.db.models.query.ModelIterable."""

    statement: Statement
    locks: bool
    compiler: Any
    converters: Any
    model: Any
    names: list[str]
    start: int
    end: int
    related: list[Any]


class Select(Generic[M]):
    """A query for rows of a model, with those of `select_related`. `build` makes it, once models are ready."""

    def __init__(self, build: Callable[[], models.QuerySet[M, Any]]) -> None:
        self.build = build

    @cached_property
    def _reading(self) -> Reading:
        queryset: Any = self.build()
        # Through Django's proxy, which is each thread's own connection: what is compiled serves all threads.
        compiler = queryset.query.get_compiler(connection=connection)
        statement = Statement(*compiler.as_sql())
        info, select = compiler.klass_info, compiler.select
        assert info is not None  # rows, not values
        assert not compiler.annotation_col_map
        assert not queryset._prefetch_related_lookups
        start, end = info["select_fields"][0], info["select_fields"][-1] + 1
        return Reading(
            statement=statement,
            locks=queryset.query.select_for_update,
            compiler=compiler,
            converters=compiler.get_converters([expression for expression, *_ in select]),
            model=info["model"],
            names=[expression.target.attname for expression, *_ in select[start:end]],
            start=start,
            end=end,
            related=get_related_populators(info, select, connection.alias),  # type: ignore[call-arg] # as of Django 6
        )

    def all(self, **values: Any) -> list[M]:
        statement, locks, compiler, converters, model, names, start, end, related = self._reading
        if locks and own_connection().get_autocommit():
            raise transaction.TransactionManagementError("A row is locked until its transaction ends: begin one.")
        with statement.run(values) as cursor:
            rows = cursor.fetchall()
        found = []
        for row in compiler.apply_converters(rows, converters) if converters else rows:
            one = model.from_db(DEFAULT_DB_ALIAS, names, row[start:end])
            for populator in related:
                populator.populate(row, one)
            found.append(one)
        return found

    def first(self, **values: Any) -> M | None:
        """Return one of the rows, None if there are none."""
        return next(iter(self.all(**values)), None)


class Firsts:
    """The first value of each of several queries of one column (None where there is none), in one statement.

    It takes no values, and is planned anew each time: a plan that was made for an empty table would serve a full one.
    """

    def __init__(self, build: Callable[[], Sequence[models.QuerySet[Any, Any]]]) -> None:
        self.build = build

    @cached_property
    def _compiled(self) -> tuple[str, list[Any], Any, Any]:
        queries: Any = self.build()
        texts, params, expressions = [], [], []
        for queryset in queries:
            compiler = queryset[:1].query.get_compiler(connection=connection)
            text, more = compiler.as_sql()
            [(expression, *_)] = compiler.select
            texts.append(f"({text})")
            params += more
            expressions.append(expression)
        return f"SELECT {', '.join(texts)}", params, compiler, compiler.get_converters(expressions)

    def all(self) -> list[Any]:
        """Return the values, in the order of the queries."""
        text, params, compiler, converters = self._compiled
        with own_connection().cursor() as cursor:  # Django's own, which has nothing prepared
            cursor.execute(text, params)
            rows = cursor.fetchall()
        [row] = compiler.apply_converters(rows, converters) if converters else rows
        return list(row)


class Update(Generic[M]):
    """A guarded UPDATE: `changes` on the rows of one table that `build` finds."""

    def __init__(self, build: Callable[[], models.QuerySet[M, Any]], **changes: Any) -> None:
        self.build, self.changes = build, changes
        self._statements: dict[tuple[frozenset[str], bool], Statement] = {}
        self._of_many: dict[frozenset[str], Statement] = {}

    def run(self, also: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Write to the matching rows, and return how many they are.

        `also`: values of further columns. A statement is compiled for each set of them.
        """
        with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS), self._asked(also, values, False) as cursor:
            count: int = cursor.rowcount
        return count

    def each(self, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        """Run with each of these `also` and values, on Postgres in one statement; return how many rows were written.

        They name the same columns, and no two of them the same row.
        """
        own = own_connection()
        if len(rows) < 2 or own.vendor != "postgresql":
            return sum(self.run(also, **values) for also, values in rows)
        columns = frozenset(rows[0][0])
        if (statement := self._of_many.get(columns)) is None:
            statement = self._of_many[columns] = of_many(self._compiled(columns))
        given = [{**values, **{_written(name): value for name, value in also.items()}} for also, values in rows]
        params = statement.params.copy()
        for place, param in statement.places:
            params[place] = [param.prepared(one[param.name], own) for one in given]
        with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS), execute(statement.text, params, own) as cursor:
            count: int = cursor.rowcount
        return count

    def rows(self, also: Mapping[str, Any] | None = None, /, **values: Any) -> list[M]:
        """Write as `run` does, and return the rows as they are then, without those that they refer to."""
        with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS), self._asked(also, values, True) as cursor:
            written = cursor.fetchall()
        model, names, compiler, converters = self._written_rows
        return [
            model.from_db(DEFAULT_DB_ALIAS, names, row)
            for row in (compiler.apply_converters(written, converters) if converters else written)
        ]

    def _asked(self, also: Mapping[str, Any] | None, values: Mapping[str, Any], returning: bool) -> Any:
        also = also or {}
        columns = frozenset(also)
        if (statement := self._statements.get((columns, returning))) is None:
            statement = self._statements[columns, returning] = self._compiled(columns, returning=returning)
        return statement.run({**values, **{_written(name): value for name, value in also.items()}} if also else values)

    def _compiled(self, columns: frozenset[str], *, returning: bool = False) -> Statement:
        queryset = self.build()
        query: Any = queryset.query.chain(sql.UpdateQuery)
        further = {name: Param(queryset.model, name, _written(name)) for name in sorted(columns)}
        query.add_update_values({**self.changes, **further})
        text, params = query.get_compiler(connection=connection).as_sql()
        if returning:
            ops: Any = connection.ops  # it writes the same words after an INSERT
            columns_read, more = ops.return_insert_columns(queryset.model._meta.concrete_fields)
            text, params = f"{text} {columns_read}", [*params, *more]
        return Statement(text, params)

    @cached_property
    def _written_rows(self) -> tuple[Any, list[str], Any, Any]:
        queryset: Any = self.build()
        fields = queryset.model._meta.concrete_fields
        compiler = queryset.query.get_compiler(connection=connection)
        # Not `cached_col`: a foreign key holds what the field that it refers to holds, and is read as that is.
        converters = compiler.get_converters([field.get_col(queryset.model._meta.db_table) for field in fields])
        return queryset.model, [field.attname for field in fields], compiler, converters


def of_many(statement: Statement) -> Statement:
    """Return the UPDATE of many rows that have values of their own, which it takes as an array of each (Postgres)."""
    pieces = statement.text.split("%s")
    assert len(pieces) == len(statement.params) + 1
    written = [f'given."{place}"' if isinstance(one, Param) else "%s" for place, one in enumerate(statement.params)]
    before, where, after = "".join(map("".join, zip(pieces, [*written, ""], strict=True))).partition(" WHERE ")
    assert where
    # Types without their lengths: by a cast to those, what is too long would be cut off without an error.
    types = [(param.of.db_type(connection) or "").partition("(")[0] for _, param in statement.places]
    arrays = ", ".join(f"%b::{kind}[]" for kind in types)
    columns = ", ".join(f'"{place}"' for place, _ in statement.places)
    constants = [one for one in statement.params if not isinstance(one, Param)]
    first = before.count("%s")
    params = [*constants[:first], *(param for _, param in statement.places), *constants[first:]]
    return Statement(f"{before} FROM UNNEST({arrays}) AS given({columns}) WHERE {after}", params)


def _written(name: str) -> str:
    """Return the name of a column's new value; a condition on its old value can then use the column's name."""
    return f"new {name}"


def stamped(field: models.Field[Any, Any]) -> bool:
    """Whether a field has itself filled in when its row is written."""
    return any(getattr(field, name, False) for name in ("auto_now", "auto_now_add"))


class Insert(Generic[M]):
    """Adds rows of a model. A number that the database gives them is not read back."""

    def __init__(self, model: type[M]) -> None:
        self.model = model
        self._statements: dict[tuple[frozenset[str], int], Insertion] = {}

    @cached_property
    def _may_be_left_out(self) -> list[str]:
        return [
            field.attname
            for field in self.model._meta.concrete_fields
            if field.null and not field.has_db_default() and not stamped(field)
        ]

    def run(self, row: M) -> None:
        self.all([row])

    def all(self, rows: Sequence[M]) -> None:
        """Add rows in one statement, in their order. Nothing is asked for none."""
        if not rows:
            return
        # What is NULL is so without being written: of a new cast that is a third of its columns.
        left_out = frozenset([name for name in self._may_be_left_out if all(getattr(r, name) is None for r in rows)])
        own = own_connection()
        insertion = self._statements.get((left_out, len(rows)))
        if insertion is None and len(rows) > 1:
            insertion = self._statements.get((left_out, ANY_NUMBER))
        if insertion is None:
            insertion = insertion_of(self.model, left_out, len(rows), own)
            self._statements[left_out, ANY_NUMBER if insertion.columns else len(rows)] = insertion
        values = [[f.get_db_prep_save(f.pre_save(row, True), own) for f in insertion.fields] for row in rows]
        # An array for each column, or value after value.
        params = list(map(list, zip(*values, strict=True))) if insertion.columns else list(chain(*values))
        with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS):
            execute(insertion.text, params, own).close()
        for row in rows:
            row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


ANY_NUMBER = 0  # of rows: in place of how many a statement is for


class Insertion(NamedTuple):
    """The text that adds some rows, and the fields that it takes. `columns`: it takes an array of each."""

    text: str
    fields: list[Any]
    columns: bool


def insertion_of(model: type[models.Model], left_out: frozenset[str], number: int, own: Any) -> Insertion:
    fields = [
        field
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField) and field.attname not in left_out
    ]

    def written(value: Callable[[Any], Any]) -> tuple[str, Sequence[Any]]:
        rows: Any = [SimpleNamespace(**{field.attname: value(field) for field in fields}) for _ in range(number)]
        query = sql.InsertQuery(model)
        query.insert_values(fields, rows, raw=True)
        [(text, params)] = query.get_compiler(connection=connection).as_sql()
        return text, params

    if number > 1 and own.vendor == "postgresql":
        # Of values Django makes arrays, which serve any number of rows, if it can for all of these columns.
        text, params = written(lambda field: None)
        if len(params) == len(fields) and all(isinstance(column, list) for column in params):
            # In binary: as text, each quotation mark within an array is escaped, of which JSON has hundreds.
            return Insertion(text.replace("(%s)::", "(%b)::"), fields, columns=True)
    text, params = written(lambda field: Param(model, field.name))
    assert len(params) == number * len(fields)
    return Insertion(text, fields, columns=False)
