"""The journey through all chapters; in a process of its own, on an empty database."""

from __future__ import annotations

import gc
from types import ModuleType

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from tests.upgrade.history import documents, runs, sealed, targets, versions

CHAPTERS = (documents, targets, runs, sealed, versions)  # in the order of their migrations


def go_to(chapter: ModuleType) -> ProjectState:
    """Have the tables that there were when the chapter's rows were stored; return what was known of them."""
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes
    at = [newest(app)[0] if name == versions.NEWEST else (app, name) for app, name in chapter.AT]
    executor.migrate(at)
    gc.collect()
    return MigrationExecutor(connection).loader.project_state(at)


def there_and_back() -> None:
    """Store all rows, read them with today's code, go back to the beginning, and read them once more."""
    for chapter in CHAPTERS:
        chapter.begin(go_to(chapter).apps)
    to_today()
    versions.check_order()
    for chapter in reversed(CHAPTERS):
        go_to(chapter)
        chapter.check_back()
    to_today()


def to_today() -> None:
    call_command("migrate", verbosity=0)
    gc.collect()
    for chapter in CHAPTERS:
        chapter.check()
