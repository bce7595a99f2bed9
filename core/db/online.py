"""Indexes and constraints of big tables that are made while others go on writing: see docs/how-to/upgrade.md.

Django's own operations for this are for Postgres alone. A migration with one of these says `atomic = False`. On SQLite,
where an update begins with stopping everything, they are the ordinary ones.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddConstraint, AddIndex
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint


def apart(schema_editor: BaseDatabaseSchemaEditor) -> bool:
    """Whether this is Postgres; raise RuntimeError if a transaction is open, in which nothing here is of use."""
    if schema_editor.connection.vendor != "postgresql":
        return False
    if schema_editor.connection.in_atomic_block:
        raise RuntimeError("Set atomic = False on this migration: it makes something while others go on writing.")
    return True


class AddIndexOnline(AddIndex):
    """Make an index without keeping anybody from writing. May be repeated after it was interrupted."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if not apart(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        editor: Any = schema_editor
        model = to_state.apps.get_model(app_label, self.model_name)
        editor.remove_index(model, self.index, concurrently=True)  # an interrupted one leaves an index that is invalid
        editor.add_index(model, self.index, concurrently=True)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if not apart(schema_editor):
            super().database_backwards(app_label, schema_editor, from_state, to_state)
            return
        editor: Any = schema_editor
        editor.remove_index(from_state.apps.get_model(app_label, self.model_name), self.index, concurrently=True)


class AddCheckOnline(AddConstraint):
    """Make a check constraint that holds for new rows at once; the old ones are looked through without a lock."""

    def __init__(self, model_name: str, constraint: CheckConstraint) -> None:
        super().__init__(model_name, constraint)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if not apart(schema_editor):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model, quote = to_state.apps.get_model(app_label, self.model_name), schema_editor.quote_name
        table, name = quote(model._meta.db_table), quote(self.constraint.name)
        made = self.constraint.create_sql(model, schema_editor)
        schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")  # of a try that was interrupted
        schema_editor.execute(f"{made} NOT VALID", params=None)
        schema_editor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
