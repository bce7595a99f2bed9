"""A migration that gives a table parts by month on Postgres while others go on reading and writing it.

The table as it is becomes the first part, for all that is there and up to a month's end. That it holds nothing later is
looked through without a lock; what then needs one takes milliseconds, whatever the table's size.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.utils import timezone
from psycopg import sql

from core.db.months import Part, attach, is_parted, make_like, month_of, quickly, rows_of, run

LOOKED_THROUGH_IN = dt.timedelta(days=2)  # at least until the end of what the first part holds
TRIES = 200  # for each lock: a minute or two


class PartByMonth(Operation):
    """Give a table parts by a column whose values hold their time; see core.db.months. Needs `atomic = False`.

    `keys`: names and definitions of those that the whole table can't have, as they lack that column: each part has them
    for itself. `references`: likewise its foreign keys, which go: making or dropping a part would lock other tables.
    `also`: what belongs to the whole table besides, as SQL, and `undo` what takes that away again.
    """

    reversible = True

    def __init__(
        self,
        model_name: str,
        column: str,
        first: Callable[[dt.datetime], Any],
        *,
        keys: dict[str, str],
        references: dict[str, str] | None = None,
        also: tuple[str, ...] = (),
        undo: tuple[str, ...] = (),
    ) -> None:
        self.model_name, self.column, self.first = model_name, column, first
        self.keys, self.references, self.also, self.undo = keys, references or {}, also, undo

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Models know nothing of it."""

    def describe(self) -> str:
        return f"Give {self.model_name} parts by month"

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self.part(to_state.apps.get_model(app_label, self.model_name)._meta.db_table)

    def part(self, table: str) -> None:
        if connection.vendor != "postgresql" or is_parted(table):  # the latter: it was interrupted after this
            return
        first = Part(f"{table}_first", self.column, None, self.first(month_of(timezone.now() + LOOKED_THROUGH_IN, 1)))
        look_through(table, first)
        quickly(lambda: drop_references(table), TRIES)
        quickly(lambda: self.give_parts(table, first), TRIES)
        run("ANALYZE {table}", table=table)

    def give_parts(self, table: str, first: Part) -> None:
        run("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", table=table)
        indexes, rights, number = whole_indexes(table, self.column), rights_on(table), next_number(table)
        run("ALTER TABLE {table} ALTER id DROP IDENTITY", table=table)
        run("ALTER TABLE {table} RENAME TO {first}", table=table, first=first.name)
        for place, (name,) in enumerate(rows_of(INDEXES, first.name)):
            run("ALTER INDEX {name} RENAME TO {new}", name=name, new=f"{first.name}_{place}")
        run(
            "CREATE TABLE {table} (LIKE {first} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE) "
            "PARTITION BY RANGE ({column})",
            table=table,
            first=first.name,
            column=self.column,
        )
        run("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {bound}", table=table, bound=f"{table}_bound")
        for definition in indexes:
            run(definition.replace("{", "{{").replace("}", "}}"))
        # The number goes on where it was.
        number_from(table, number)
        rest = f"{table}_rest"
        make_like(table, rest, keys=self.keys.values())
        run("ALTER TABLE {table} ATTACH PARTITION {rest} DEFAULT", table=table, rest=rest)
        run(
            "WITH moved AS (DELETE FROM {first} WHERE {column} >= {end} RETURNING *) "
            "INSERT INTO {rest} SELECT * FROM moved",
            first=first.name,
            column=self.column,
            end=sql.Literal(first.end),
            rest=rest,
        )
        attach(table, first)
        run("ALTER TABLE {first} DROP CONSTRAINT IF EXISTS {bound}", first=first.name, bound=f"{table}_bound")
        for right, role in rights:
            run("GRANT {right} ON {table} TO {role}", right=sql.SQL(right), table=table, role=sql.SQL(role))
        for statement in self.also:
            run(statement)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        if connection.vendor == "postgresql" and is_parted(table):
            with transaction.atomic():
                self.make_one(table)

    def make_one(self, table: str) -> None:
        """Have the first part (the rest, if that was dropped) be the table again, with what the others hold."""
        run("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", table=table)
        number, rights, indexes = next_number(table), rights_on(table), inherited_indexes(table)
        names = {name for (name,) in rows_of(PARTS, table)}
        kept = f"{table}_first" if f"{table}_first" in names else f"{table}_rest"
        for statement in self.undo:
            run(statement)
        run("ALTER TABLE {table} DETACH PARTITION {kept}", table=table, kept=kept)
        run("INSERT INTO {kept} SELECT * FROM {table}", kept=kept, table=table)
        run("DROP TABLE {table}", table=table)
        run("ALTER TABLE {kept} RENAME TO {table}", kept=kept, table=table)
        for name, part, whole in indexes:
            if part == kept:
                run("ALTER INDEX {name} RENAME TO {whole}", name=name, whole=whole)
        for name, definition in rows_of(KEYS, table):
            for wanted, ours in self.keys.items():
                if definition == ours and name != wanted:
                    run("ALTER TABLE {table} RENAME CONSTRAINT {name} TO {new}", table=table, name=name, new=wanted)
        for name, definition in self.references.items():
            run("ALTER TABLE {table} ADD CONSTRAINT {name} {how}", table=table, name=name, how=sql.SQL(definition))
        run("ALTER TABLE {table} ALTER id DROP DEFAULT", table=table)
        run("ALTER TABLE {table} ALTER id DROP IDENTITY IF EXISTS", table=table)
        number_from(table, number)
        for right, role in rights:
            run("GRANT {right} ON {table} TO {role}", right=sql.SQL(right), table=table, role=sql.SQL(role))


def look_through(table: str, first: Part) -> None:
    """Prove that all of a table's rows are in its first part, so that it need not be looked through under a lock."""
    bound = f"{table}_bound"
    # Of a try that was interrupted.
    quickly(lambda: run("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {bound}", table=table, bound=bound), TRIES)
    later = sql.SQL("SELECT 1 FROM {} WHERE {} >= {} LIMIT 1").format(
        sql.Identifier(table), sql.Identifier(first.column), sql.Literal(first.end)
    )
    if rows_of(later):
        return  # ids that hold no time: they are moved away, and it is looked through then
    quickly(
        lambda: run(
            "ALTER TABLE {table} ADD CONSTRAINT {bound} CHECK ({column} < {end}) NOT VALID",
            table=table,
            bound=bound,
            column=first.column,
            end=sql.Literal(first.end),
        ),
        TRIES,
    )
    run("ALTER TABLE {table} VALIDATE CONSTRAINT {bound}", table=table, bound=bound)


def drop_references(table: str) -> None:
    for (name,) in rows_of(
        "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype = 'f'", table
    ):
        run("ALTER TABLE {table} DROP CONSTRAINT {name}", table=table, name=name)


def number_from(table: str, number: int) -> None:
    run(
        "ALTER TABLE {table} ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH {number})",
        table=table,
        number=sql.Literal(number),
    )


def next_number(table: str) -> int:
    """Return a number above those that rows of a locked table have."""
    [(newest,)] = rows_of(sql.SQL("SELECT coalesce(max(id), 0) FROM {}").format(sql.Identifier(table)))
    [(given,)] = rows_of(
        "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(quote_ident(%s), 'id')::regclass), 0)", table
    )
    return int(max(newest, given)) + 1


def whole_indexes(table: str, column: str) -> list[str]:
    """Return the statements that make the indexes and keys which the whole table can have.

    Those that keep something unique must have the column, by which Postgres finds the one part to look in.
    """
    found = rows_of(
        "SELECT i.relname, pg_get_indexdef(i.oid), pg_get_constraintdef(k.oid), "
        "  NOT x.indisunique OR a.attnum = ANY (x.indkey) "
        "FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid LEFT JOIN pg_constraint k ON k.conindid = i.oid "
        "  AND k.conrelid = x.indrelid AND k.contype IN ('p', 'u') "
        "JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attname = %s WHERE x.indrelid = to_regclass(%s)",
        column,
        table,
    )
    added = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
    return [
        added.format(sql.Identifier(table), sql.Identifier(name), sql.SQL(key)).as_string() if key else index
        for name, index, key, possible in found
        if possible
    ]


def rights_on(table: str) -> list[tuple[Any, ...]]:
    """Return which rights others than its owner have on a table, and who they are; both as SQL."""
    return rows_of(
        "SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END "
        "FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass(%s) AND a.grantee <> c.relowner",
        table,
    )


PARTS = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)"
KEYS = (
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass(%s) "
    "AND contype IN ('p', 'u')"
)
INDEXES = "SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = to_regclass(%s)"


def inherited_indexes(table: str) -> list[tuple[Any, ...]]:
    """Return the indexes of a table's parts: each with its part, and the whole table's index that it belongs to."""
    return rows_of(
        "SELECT c.relname, t.relname, p.relname FROM pg_index x JOIN pg_class p ON p.oid = x.indexrelid "
        "JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid "
        "JOIN pg_index y ON y.indexrelid = c.oid JOIN pg_class t ON t.oid = y.indrelid "
        "WHERE x.indrelid = to_regclass(%s)",
        table,
    )
