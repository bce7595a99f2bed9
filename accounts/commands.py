"""What our management commands share: they say in one sentence why the database can't be used."""

from __future__ import annotations

from typing import Literal

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


class DatabaseCommand(BaseCommand):
    """A command that needs the database with all of its tables, and otherwise no setting but DATABASE_URL."""

    requires_system_checks: list[str] | tuple[str, ...] | Literal["__all__"] = [Tags.models]
    requires_migrations_checks = True

    def check_migrations(self) -> None:
        """Refuse to run on a database that can't be reached, or whose tables are not those of this release."""
        try:
            executor = MigrationExecutor(connection)
            missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError as exc:
            why = str(exc).strip().partition("\n")[0]
            raise CommandError(f"The database can't be used: {why}. Is DATABASE_URL right?") from exc
        if missing:
            tables = "is empty" if not executor.loader.applied_migrations else "is of an earlier release"
            raise CommandError(f"The database {tables}: {len(missing)} migrations are missing. Run: manage.py migrate")
