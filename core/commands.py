"""What our management commands share: one sentence that says why the database can't be used."""

from __future__ import annotations

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from core.redaction import redact


def unusable(exc: DatabaseError) -> str:
    why = redact(str(exc).strip().partition("\n")[0])
    return f"The database can't be used: {why}. Is DATABASE_URL right?"


def why_unready() -> str:
    """Say why the database can't be used: it is away, or its tables are not this release's. Blank if it can."""
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as exc:
        connection.close()
        return unusable(exc)
    if not missing:
        return ""
    tables = "is empty" if not executor.loader.applied_migrations else "is of an earlier release"
    return f"The database {tables}: {len(missing)} migrations are missing. Run: manage.py migrate"


class DatabaseCommand(BaseCommand):
    """A command that needs the database with all its tables, and no other setting than DATABASE_URL."""

    requires_system_checks = [Tags.models]
    requires_migrations_checks = True

    def check_migrations(self) -> None:
        if why := why_unready():
            raise CommandError(why)
