"""Django's own `migrate`, which on Postgres makes nobody wait long: see docs/how-to/upgrade.md."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections

from core.db.timeouts import impatient

LOCK_SECONDS = 4.0


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with impatient(connections[options["database"]], LOCK_SECONDS):
                super().handle(*args, **options)
        except OperationalError as exc:
            if "lock timeout" not in str(exc):  # Postgres' words; the class alone says too little
                raise
            raise CommandError(
                f"A table was in use for {LOCK_SECONDS:.0f} seconds, and nobody shall wait behind this for longer. "
                "What was migrated so far is done; give the command again."
            ) from exc
