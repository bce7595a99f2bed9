"""Indexes and constraints of big tables that are made while others go on writing: see docs/how-to/upgrade.md.

Django's own operations for this are for Postgres alone. A migration with one of these says `atomic = False`. On SQLite,
where an update begins with stopping everything, they are the ordinary ones.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddConstraint, AddIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint, Index, Model


class PatientEditor:
    """Postgres' schema editor, of which what is made or taken away keeps nobody from writing."""

    def __init__(self, editor: BaseDatabaseSchemaEditor) -> None:
        self.editor: Any = editor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.editor, name)

    def add_index(self, model: type[Model], index: Index) -> None:
        self.remove_index(model, index)  # one that was interrupted leaves an index that is invalid
        self.editor.add_index(model, index, concurrently=True)

    def remove_index(self, model: type[Model], index: Index) -> None:
        self.editor.remove_index(model, index, concurrently=True)

    def add_constraint(self, model: type[Model], constraint: CheckConstraint) -> None:
        """Have it hold for new rows at once; the old ones are looked through without a lock."""
        table, name = self.editor.quote_name(model._meta.db_table), self.editor.quote_name(constraint.name)
        made = constraint.create_sql(model, self.editor)
        self.editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")  # of a try that was interrupted
        self.editor.execute(f"{made} NOT VALID", params=None)
        self.editor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


class Online(Operation):
    """What an operation asks of the schema editor is asked of a PatientEditor, on Postgres."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        super().database_forwards(app_label, patient(schema_editor), from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        super().database_backwards(app_label, patient(schema_editor), from_state, to_state)


def patient(editor: BaseDatabaseSchemaEditor) -> Any:
    """Raise RuntimeError if a transaction is open on Postgres, in which nothing here is of use."""
    if editor.connection.vendor != "postgresql":
        return editor
    if editor.connection.in_atomic_block:
        raise RuntimeError("Set atomic = False on this migration: it makes something while others go on writing.")
    return PatientEditor(editor)


class AddIndexOnline(Online, AddIndex):
    """May be repeated after it was interrupted."""


class AddCheckOnline(Online, AddConstraint):
    """May be repeated after it was interrupted."""

    def __init__(self, model_name: str, constraint: CheckConstraint) -> None:
        super().__init__(model_name, constraint)
