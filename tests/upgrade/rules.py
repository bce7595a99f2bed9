"""What a migration may not do, because processes of the release before run beside it: see docs/how-to/upgrade.md.

It is judged by Postgres: on SQLite everything stops for an update.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.migrations import Migration, RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations import operations as ops
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED, CheckConstraint, Field, GeneratedField, UniqueConstraint
from django.db.models.constraints import BaseConstraint
from django.db.utils import ConnectionHandler

from core.db.by_month import PartByMonth
from core.db.online import AddCheckOnline, AddIndexOnline

# The tables that grow with every cast, webhook or request: a lock that lasts as long as they are read or written anew
# keeps everybody waiting.
BIG = {
    *("accounts.auditentry", "accounts.ledgerentry", "casts.artifact", "casts.artifactcontents", "casts.callback"),
    *("casts.callbackattempt", "casts.cast", "casts.castevent", "casts.idempotencyrecord", "casts.metadatamark"),
    *("payments.meterreport", "webhooks.delivery"),
}
HARMLESS = (
    *(ops.CreateModel, ops.AlterModelOptions, ops.AlterModelManagers, ops.RemoveIndex, ops.RenameIndex),
    ops.AlterModelTableComment,
)
# In SQL as text, on a table that is not new.
RISKY_SQL = {
    r"\bDROP\s+(TABLE|COLUMN)\b": "drops what the release before reads or writes",
    r"\bRENAME\b": "renames what the release before knows by its old name",
    r"\bALTER\s+COLUMN\b.*\b(TYPE|SET\s+NOT\s+NULL)\b": "writes or reads a whole table under a lock",
    r"\bCREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)": "keeps everybody from writing while an index is made",
    r"\bADD\s+CONSTRAINT\b(?!.*\bNOT\s+VALID\b)": "keeps everybody from writing while a constraint is checked",
}
RENAMED = (
    "{what} is renamed, and the release before knows it by its old name. Keep the name in the database (db_column, "
    "db_table) and change the name in Python alone, with SeparateDatabaseAndState."
)


class Rules:
    """The new migrations, judged one after the other, in the state in which each finds the tables."""

    def __init__(self, before: ProjectState) -> None:
        self.before, self.state = before, before.clone()

    def judge(self, migration: Migration) -> Iterator[str]:
        self.migration, self.app = migration, migration.app_label
        for operation in migration.operations:
            yield from self.operation(operation)
            operation.state_forwards(self.app, self.state)

    def operation(self, operation: Operation) -> Iterator[str]:
        of = next(
            (getattr(operation, name) for name in ("model_name", "old_name", "name") if hasattr(operation, name)), ""
        )
        named = isinstance(of, str) and bool(of)
        if named and not self.known(str(of)):
            return  # the table is new
        rule = next((RULES[kind] for kind in type(operation).__mro__ if kind in RULES), None)
        if rule is None:
            yield f"{type(operation).__name__} is not known to this rule. Judge it, and add it to RULES here."
        else:
            yield from rule(self, operation)

    # --- what is known of the release before ---------------------------------------------------------------------

    def known(self, model: str) -> bool:
        return (self.app, model.lower()) in self.before.models

    def known_field(self, model: str, field: str) -> bool:
        return self.known(model) and field in self.before.models[self.app, model.lower()].fields

    def path(self, model: str) -> str:
        return f"{self.app}.{model}".lower()

    # --- one operation -------------------------------------------------------------------------------------------

    def harmless(self, operation: Any) -> Iterator[str]:
        return iter(())

    def delete_model(self, operation: ops.DeleteModel) -> Iterator[str]:
        yield (
            f"{self.path(operation.name)} is deleted, and the release before uses it. Delete the model in this release "
            "by SeparateDatabaseAndState (state_operations), and drop the table in the next."
        )

    def rename(self, operation: Any) -> Iterator[str]:
        names = [getattr(operation, name) for name in ("model_name", "old_name") if hasattr(operation, name)]
        yield RENAMED.format(what=".".join([self.app, *(names or [operation.name])]))

    def remove_field(self, operation: ops.RemoveField) -> Iterator[str]:
        if self.known_field(operation.model_name, operation.name):
            yield (
                f"{self.path(operation.model_name)}.{operation.name} is removed, and the release before reads and "
                "writes it. Remove the field in this release by SeparateDatabaseAndState (state_operations), and drop "
                "the column in the next."
            )

    def add_field(self, operation: ops.AddField) -> Iterator[str]:
        model = self.path(operation.model_name)
        yield from self.added(model, operation.name, operation.field, big=model in BIG)

    def alter_field(self, operation: ops.AlterField) -> Iterator[str]:
        if self.known_field(operation.model_name, operation.name):
            old = self.state.models[self.app, operation.model_name_lower].fields[operation.name]
            yield from self.altered(self.path(operation.model_name), operation.name, old, operation.field)

    def add_index_online(self, operation: AddIndexOnline) -> Iterator[str]:
        if self.migration.atomic:
            yield f"{operation.index.name} is made while others write. Set atomic = False."

    def add_index(self, operation: ops.AddIndex) -> Iterator[str]:
        if (model := self.path(operation.model_name)) in BIG:
            yield (
                f"{operation.index.name} keeps everybody from writing to {model} while it is made. Use "
                "core.db.online.AddIndexOnline in a migration with atomic = False."
            )

    def add_check_online(self, operation: AddCheckOnline) -> Iterator[str]:
        if self.migration.atomic:
            yield f"{operation.constraint.name} is checked while others write. Set atomic = False."
        yield from self.constrained(operation.model_name, operation.constraint)

    def add_constraint(self, operation: ops.AddConstraint) -> Iterator[str]:
        if (model := self.path(operation.model_name)) in BIG:
            yield (
                f"{operation.constraint.name} keeps everybody from writing to {model} while all rows are checked. Use "
                "core.db.online.AddCheckOnline, or a unique index by AddIndexOnline, with atomic = False."
            )
        yield from self.constrained(operation.model_name, operation.constraint)

    def remove_constraint(self, operation: ops.RemoveConstraint) -> Iterator[str]:
        known = self.before.models[self.app, operation.model_name_lower].options.get("constraints", ())
        if any(isinstance(one, UniqueConstraint) and one.name == operation.name for one in known):
            yield (
                f"{operation.name} is removed, and the release before counts on it to tell what is there already. "
                "Remove it in the next release."
            )

    def added(self, model: str, name: str, field: Field[Any, Any], *, big: bool) -> Iterator[str]:
        if field.many_to_many:
            return
        default = field.db_default
        if not field.null and default is NOT_PROVIDED and not isinstance(field, GeneratedField):
            yield (
                f"{model}.{name} must not be NULL, and the release before writes rows without it. Give it a "
                "db_default, or null=True."
            )
        if big and isinstance(field, GeneratedField):
            yield f"{model}.{name} is computed for each row under a lock. Add a nullable column, and fill it."
        if big and (field.unique or indexed(field)):
            yield (
                f"{model}.{name} comes with an index, which keeps everybody from writing while it is made. Set "
                "db_index=False, and add the index by core.db.online.AddIndexOnline."
            )

    def altered(self, model: str, name: str, old: Field[Any, Any], new: Field[Any, Any]) -> Iterator[str]:
        if old.null and not new.null:
            yield (
                f"{model}.{name} must not be NULL any more: the release before may write NULL, and the table is looked "
                "through under a lock. Give it a db_default now, fill it, and require it in the next release."
            )
        if new.null and not old.null:
            yield f"{model}.{name} may be NULL, which the release before can't read. Write none until the next."
        if rewrites(old, new):
            yield (
                f"{model}.{name} gets another type, for which the whole table is written anew under a lock. Add a new "
                "column, fill it in batches, and read it from the next release on."
            )
        if (
            new.db_parameters(POSTGRES)["type"]
            and (old.db_default is not NOT_PROVIDED)
            and new.db_default is NOT_PROVIDED
        ):
            yield f"{model}.{name} loses its db_default, on which the release before counts. Take it away in the next."
        if (new.unique and not old.unique) or (indexed(new) and not indexed(old)):
            yield (
                f"{model}.{name} gets an index, which keeps everybody from writing while it is made. Use "
                "core.db.online.AddIndexOnline."
            )

    def constrained(self, model: str, constraint: BaseConstraint) -> Iterator[str]:
        if any(self.known_field(model, name) for name in fields_of(constraint)):
            yield (
                f"{constraint.name} is not known to the release before, which may write what it refuses. Have the code "
                "keep it in this release, and add the constraint in the next."
            )

    def apart(self, operation: SeparateDatabaseAndState) -> Iterator[str]:
        for one in operation.database_operations:
            yield from self.operation(one)
        for one in operation.state_operations:
            if isinstance(one, ops.RemoveField) and self.known_field(one.model_name, one.name):
                field = self.state.models[self.app, one.model_name_lower].fields[one.name]
                if not field.null and not field.many_to_many and field.db_default is NOT_PROVIDED:
                    yield (
                        f"{self.path(one.model_name)}.{one.name} is left in the table, where new code can't write a "
                        "row without it. Give it a db_default first, by AlterField."
                    )

    def text(self, operation: RunSQL) -> Iterator[str]:
        told = operation.sql if isinstance(operation.sql, str) else " ; ".join(str(part) for part in operation.sql)
        for risky, why in RISKY_SQL.items():
            if re.search(risky, told, re.IGNORECASE | re.DOTALL):
                yield f"The SQL “{told.strip()[:60]}” {why}. docs/how-to/upgrade.md says how to do it in two releases."

    def program(self, operation: RunPython) -> Iterator[str]:
        if not self.migration.atomic:
            return
        for app, model in re.findall(r"get_model\(\s*[\"'](\w+)[\"'],\s*[\"'](\w+)[\"']", source_of(operation)):
            if f"{app}.{model}".lower() in BIG:
                yield (
                    f"{named(operation)} goes through {app}.{model} in one transaction, and whoever writes the "
                    "same rows waits for its end. Set atomic = False and go in batches (core.queue.due.batches), each "
                    "in a transaction of its own."
                )


RULES: dict[type[Operation], Callable[[Rules, Any], Iterator[str]]] = {
    **dict.fromkeys(HARMLESS, Rules.harmless),
    **dict.fromkeys((ops.RenameModel, ops.RenameField, ops.AlterModelTable), Rules.rename),
    ops.DeleteModel: Rules.delete_model,
    ops.RemoveField: Rules.remove_field,
    ops.AddField: Rules.add_field,
    ops.AlterField: Rules.alter_field,
    ops.AddIndex: Rules.add_index,
    AddIndexOnline: Rules.add_index_online,
    ops.AddConstraint: Rules.add_constraint,
    AddCheckOnline: Rules.add_check_online,
    ops.RemoveConstraint: Rules.remove_constraint,
    SeparateDatabaseAndState: Rules.apart,
    PartByMonth: Rules.harmless,  # the release before reads and writes as before: tests/casts/test_months.py
    RunSQL: Rules.text,
    RunPython: Rules.program,
}


def named(operation: RunPython) -> str:
    return getattr(operation.code, "__name__", "A program")


def source_of(operation: RunPython) -> str:
    try:
        return inspect.getsource(operation.code)
    except (OSError, TypeError):  # RunPython.noop, and what was made by a call
        return ""


def fields_of(constraint: BaseConstraint) -> Iterable[str]:
    if isinstance(constraint, UniqueConstraint):
        return constraint.fields
    if isinstance(constraint, CheckConstraint):
        return {str(name).split("__")[0] for name in names_in(constraint.condition)}
    return ()


def names_in(condition: Any) -> Iterator[str]:
    for child in getattr(condition, "children", ()):
        if isinstance(child, tuple):
            yield child[0]
        else:
            yield from names_in(child)


def indexed(field: Field[Any, Any]) -> bool:
    return bool(getattr(field, "db_index", False)) and not field.primary_key


def rewrites(old: Field[Any, Any], new: Field[Any, Any]) -> bool:
    """Whether Postgres writes a table anew to make `new` of `old`."""
    was, now = (field.db_parameters(POSTGRES)["type"] or "" for field in (old, new))
    if was == now:
        return False
    shorter = [re.fullmatch(r"varchar\((\d+)\)", kind) for kind in (was, now)]
    if shorter[0] and now == "text":
        return False
    return not (shorter[0] and shorter[1] and int(shorter[0][1]) <= int(shorter[1][1]))


def postgres() -> Any:
    """Return what knows Postgres' types, without a server."""
    return ConnectionHandler({"default": {"ENGINE": "django.db.backends.postgresql"}})["default"]


POSTGRES = postgres()
