"""What an update must not do: while it is under way, processes of the release before still write rows."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations import AddField
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

# The newest of each app when the first release that is updated in place was made.
BEFORE = {"accounts": "0007", "casts": "0010", "github_integration": "0004", "webhooks": "0006"}


@pytest.mark.django_db
def test_a_new_column_has_a_value_where_a_writer_does_not_know_it() -> None:
    added = [
        (app, name, operation)
        for (app, name), migration in MigrationLoader(connection).disk_migrations.items()
        if app in BEFORE and name >= BEFORE[app]
        for operation in migration.operations
        if isinstance(operation, AddField)
    ]
    assert added
    for app, name, operation in added:
        field = operation.field
        assert field.null or field.db_default is not NOT_PROVIDED, f"{app} {name}: {operation.name}"
