"""Statements whose text is made once, for the few places that every request or every webhook passes.

Django's ORM composes each statement anew, which takes several times as long as the database takes to run it. These
read and write whole rows by equal columns; the models stay the only source of names, types and defaults. On Postgres
they are prepared as well.
"""

# ruff: noqa: S608 - the text is made of models' names and of what callers wrote; values are always parameters
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Generic, TypeAlias, TypeVar

import psycopg
from django.db import connection, models
from django.db.models.expressions import Col

M = TypeVar("M", bound=models.Model)
Field: TypeAlias = "models.Field[Any, Any]"


def execute(sql: str, params: Sequence[Any]) -> Any:
    """Run a statement and return its cursor: through Django, with all that it does about errors and logs."""
    if connection.vendor == "postgresql":
        # Django's own cursor binds in the client: each text is another one, which the server must plan anew.
        connection.ensure_connection()
        bound: Any = psycopg.Cursor(connection.connection)
        cursor = connection.make_debug_cursor(bound) if connection.queries_logged else connection.make_cursor(bound)
    else:
        cursor = connection.cursor()
    cursor.execute(sql, params)
    return cursor


def quoted(name: str | None) -> str:
    """Return a table's or a column's name as it is written in SQL."""
    assert name is not None  # only columns of models that are tables
    return connection.ops.quote_name(name)


class Columns:
    """A model's columns as they are read: some of them (the others are read when they are asked for), or all."""

    def __init__(self, model: type[models.Model], names: Sequence[str]) -> None:
        self.model = model
        fields = [f for f in model._meta.concrete_fields if not names or f.attname in names]
        self.names = [f.attname for f in fields]
        table = quoted(model._meta.db_table)
        self.text = ", ".join(f"{table}.{quoted(f.column)}" for f in fields)
        # Not `cached_col`: a foreign key holds what the field that it refers to holds, and is read as that is.
        read = [f.get_col(model._meta.db_table) for f in fields]
        self.converters = [(i, found, column) for i, column in enumerate(read) if (found := converters_of(column))]

    def row(self, values: Sequence[Any]) -> Any:
        """Return the row that these values, as the database gave them, make up."""
        values = list(values)
        for place, convert, column in self.converters:
            for one in convert:
                values[place] = one(values[place], column, connection)
        return self.model.from_db(connection.alias, self.names, values)


def converters_of(column: Col) -> list[Callable[..., Any]]:
    """Return what Django would do to a value of this column that it has read."""
    return [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]


class Rows(Generic[M]):
    """Reads rows by equal columns, with one row that each refers to; locks them, on request, where rows can be.

    `also`: a further condition, in SQL, and what else ends the statement. `of_own`, `of_related`: which columns are
    read, by their names; all if there are none.
    """

    def __init__(
        self,
        model: type[M],
        *by: str,
        also: str = "",
        of_own: Sequence[str] = (),
        related: str = "",
        of_related: Sequence[str] = (),
        lock: bool = False,
    ) -> None:
        self.model, self.by, self.also, self.lock = model, by, also, lock
        self.of_own, self.related, self.of_related = of_own, related, of_related

    @cached_property
    def _prepared(self) -> tuple[str, list[Field], list[Columns]]:
        meta = self.model._meta
        table = quoted(meta.db_table)
        columns, source = [Columns(self.model, self.of_own)], table
        if self.related:
            field: Any = meta.get_field(self.related)
            assert not field.null  # the join would leave out rows that refer to none
            columns.append(Columns(field.related_model, self.of_related))
            other = quoted(field.related_model._meta.db_table)
            source += (
                f" INNER JOIN {other} ON {table}.{quoted(field.column)} = {other}.{quoted(field.target_field.column)}"
            )
        by: list[Any] = [meta.get_field(name) for name in self.by]
        return f"SELECT {', '.join(c.text for c in columns)} FROM {source} WHERE ", by, columns

    @cached_property
    def _equal(self) -> str:
        begin, by, _ = self._prepared
        table = quoted(self.model._meta.db_table)
        which = [f"{table}.{quoted(field.column)} = %s" for field in by]
        sql = begin + " AND ".join([*which, self.also] if self.also else which)
        if self.lock and connection.features.has_select_for_update:
            sql += f" FOR UPDATE OF {table}"
        return sql

    def all(self, *values: Any) -> list[M]:
        """Return the rows with these values: of the columns, then of the further condition."""
        by = self._prepared[1]
        params = [f.get_db_prep_value(v, connection) for f, v in zip(by, values, strict=False)]
        return self._read(self._equal, [*params, *values[len(by) :]])

    def among(self, values: Sequence[Any]) -> list[M]:
        """Return the rows whose one column has any of these values."""
        begin, [field], _ = self._prepared
        wanted = [field.get_db_prep_value(value, connection) for value in values]
        column = f"{quoted(self.model._meta.db_table)}.{quoted(field.column)}"
        if connection.vendor == "postgresql":
            return self._read(f"{begin}{column} = ANY(%s)", [wanted])
        return self._read(f"{begin}{column} IN ({', '.join('%s' for _ in wanted)})", wanted)

    def _read(self, sql: str, params: Sequence[Any]) -> list[M]:
        columns = self._prepared[2]
        with execute(sql, params) as cursor:
            found = cursor.fetchall()
        own = len(columns[0].names)
        rows = [columns[0].row(values[:own]) for values in found]
        if self.related:
            for row, values in zip(rows, found, strict=True):
                setattr(row, self.related, columns[1].row(values[own:]))
        return rows

    def first(self, *values: Any) -> M | None:
        """Return one of them, None if there is none."""
        return next(iter(self.all(*values)), None)


@cache
def _insertion(model: type[models.Model]) -> tuple[str, list[Field]]:
    fields = [f for f in model._meta.concrete_fields if not isinstance(f, models.AutoField)]
    names, marks = ", ".join(quoted(f.column) for f in fields), ", ".join("%s" for _ in fields)
    return f"INSERT INTO {quoted(model._meta.db_table)} ({names}) VALUES ({marks})", fields


def insert(row: models.Model) -> None:
    """Add a row. A number that the database gives it is not read back."""
    sql, fields = _insertion(type(row))
    execute(sql, [f.get_db_prep_save(f.pre_save(row, True), connection) for f in fields]).close()
    row._state.adding, row._state.db = False, connection.alias


@cache
def _columns_of(model: type[models.Model]) -> dict[str, tuple[str, Field]]:
    return {f.attname: (quoted(f.column), f) for f in model._meta.concrete_fields}


def update(row: models.Model, changes: Mapping[str, Any], *, only: str = "") -> bool:
    """Write these columns of a row if it is there, and fits `only`, a condition in SQL; return whether it was."""
    columns = _columns_of(type(row))
    assigned = ", ".join(f"{columns[name][0]} = %s" for name in changes)
    params = [columns[name][1].get_db_prep_save(value, connection) for name, value in changes.items()]
    pk: Any = row._meta.pk
    sql = f"UPDATE {quoted(row._meta.db_table)} SET {assigned} WHERE {quoted(pk.column)} = %s"
    if only:
        sql += f" AND {only}"
    with execute(sql, [*params, pk.get_db_prep_save(row.pk, connection)]) as cursor:
        changed: int = cursor.rowcount
    return bool(changed)
