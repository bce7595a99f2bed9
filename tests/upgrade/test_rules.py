"""Old and new code run side by side during an update: no migration may take away what the release before needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations import Migration, RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations import operations as ops
from django.db.migrations.loader import MigrationLoader
from django.db.models import Q

from core.db.online import AddCheckOnline, AddIndexOnline
from tests.upgrade import previous
from tests.upgrade.rules import Rules

# Of which the rule can't know that they can be lived with: (migration, beginning of the verdict) and why they can.
# What stands here is what tests/upgrade/test_side_by_side.py has to try.
EXCUSED: dict[tuple[str, str], str] = {}
OURS = ("accounts", "casts", "github_integration", "payments", "webhooks")


@pytest.fixture(scope="module")
def loader() -> MigrationLoader:
    return MigrationLoader(None)


def test_new_migrations_can_be_lived_with_by_the_release_before(loader: MigrationLoader) -> None:
    last = previous.migrations()
    old = {key for leaf in last for key in loader.graph.forwards_plan(leaf)}
    new = [
        key
        for key in loader.graph._generate_plan(
            [leaf for leaf in loader.graph.leaf_nodes() if leaf[0] in OURS], at_end=True
        )
        if key not in old and key[0] in OURS
    ]
    rules = Rules(loader.project_state(sorted(last)))
    found: dict[str, list[str]] = {}
    excuses = set(EXCUSED)
    for app, name in new:
        migration = f"{app} {name}"
        for verdict in rules.judge(loader.graph.nodes[app, name]):
            excuse = next((key for key in EXCUSED if key[0] == migration and verdict.startswith(key[1])), None)
            if excuse is not None:
                excuses.discard(excuse)
            else:
                found[migration] = [*found.get(migration, []), verdict]
    assert not found, "\n".join(f"{migration}: {verdict}" for migration, all_ in found.items() for verdict in all_)
    assert not excuses, f"no longer needed: {excuses}"


def fill(apps: Any, schema_editor: Any) -> None:
    apps.get_model("casts", "Cast").objects.update(message="")


def migration(*operations: Any, app: str = "casts", atomic: bool = True) -> Migration:
    kind = type("Migration", (Migration,), {"operations": list(operations), "atomic": atomic})
    made: Migration = kind("0999_tried", app)
    return made


def text(**more: Any) -> models.CharField[str, str]:
    return models.CharField(max_length=40, **more)


by_status = models.Index("status", name="tried")
known_check = models.CheckConstraint(condition=Q(progress__lte=100), name="tried")
new_check = models.CheckConstraint(condition=Q(tried__lte=100), name="tried")
REFUSED: dict[str, tuple[Callable[[], Migration], str]] = {
    "required": (lambda: migration(ops.AddField("Spell", "tried", text())), "Give it a db_default"),
    "dropped": (lambda: migration(ops.RemoveField("Cast", "summary")), "state_operations"),
    "no model": (lambda: migration(ops.DeleteModel("CastTally")), "drop the table in the next"),
    "renamed": (lambda: migration(ops.RenameField("Cast", "summary", "told")), "db_column"),
    "moved": (lambda: migration(ops.RenameModel("CastTally", "Tally")), "db_table"),
    "another table": (lambda: migration(ops.AlterModelTable("CastTally", "tallies")), "db_table"),
    "rewritten": (lambda: migration(ops.AlterField("Cast", "cost_cents", models.BigIntegerField())), "another type"),
    "shortened": (lambda: migration(ops.AlterField("Cast", "message", text())), "another type"),
    "not null": (
        lambda: migration(ops.AlterField("Cast", "started_at", models.DateTimeField())),
        "require it in the next release",
    ),
    "null": (lambda: migration(ops.AlterField("Cast", "message", models.CharField(max_length=500, null=True))), "NULL"),
    "no default": (lambda: migration(ops.AlterField("Cast", "summary", models.TextField())), "loses its db_default"),
    "index": (lambda: migration(ops.AddIndex("Cast", by_status)), "AddIndexOnline"),
    "online in a transaction": (lambda: migration(AddIndexOnline("Cast", by_status)), "atomic = False"),
    "check online in a transaction": (lambda: migration(AddCheckOnline("Cast", new_check)), "atomic = False"),
    "check": (lambda: migration(ops.AddConstraint("Cast", new_check)), "AddCheckOnline"),
    "check of what old code writes": (
        lambda: migration(AddCheckOnline("Cast", known_check), atomic=False),
        "add the constraint in the next",
    ),
    "key": (
        lambda: migration(
            ops.AddField("Cast", "tried", models.ForeignKey("casts.Spell", models.CASCADE, null=True, related_name="+"))
        ),
        "db_index=False",
    ),
    "unique": (lambda: migration(ops.RemoveConstraint("Cast", "one_cast_per_run")), "counts on it"),
    "program": (lambda: migration(RunPython(fill)), "batches"),
    "sql": (lambda: migration(RunSQL("ALTER TABLE casts_cast DROP COLUMN summary")), "two releases"),
    "left required": (
        lambda: migration(SeparateDatabaseAndState(state_operations=[ops.RemoveField("Cast", "run_scope")])),
        "Give it a db_default first",
    ),
    "inside": (
        lambda: migration(SeparateDatabaseAndState(database_operations=[ops.RemoveField("Cast", "summary")])),
        "state_operations",
    ),
    "unknown": (lambda: migration(ops.AlterOrderWithRespectTo("Cast", None)), "Judge it"),
}
ALLOWED: dict[str, Callable[[], Migration]] = {
    "nullable": lambda: migration(ops.AddField("Cast", "tried", text(null=True))),
    "with a default": lambda: migration(ops.AddField("Cast", "tried", text(db_default=""))),
    "longer": lambda: migration(ops.AlterField("Cast", "message", models.CharField(max_length=900))),
    "unlimited": lambda: migration(ops.AlterField("Cast", "message", models.TextField())),
    "index of a small table": lambda: migration(ops.AddIndex("Spell", models.Index("key", name="tried"))),
    "index": lambda: migration(AddIndexOnline("Cast", by_status), atomic=False),
    "check of a new column": lambda: migration(
        ops.AddField("Cast", "tried", models.IntegerField(null=True)), AddCheckOnline("Cast", new_check), atomic=False
    ),
    "program": lambda: migration(RunPython(fill), atomic=False),
    "forgotten": lambda: migration(SeparateDatabaseAndState(state_operations=[ops.RemoveField("Cast", "summary")])),
    "of a new table": lambda: migration(
        ops.CreateModel("Tried", [("id", models.BigAutoField(primary_key=True))]),
        ops.AddField("Tried", "required", text()),
        ops.RenameField("Tried", "required", "needed"),
        ops.DeleteModel("Tried"),
    ),
}


@pytest.fixture(scope="module")
def before(loader: MigrationLoader) -> Any:
    return loader.project_state()


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_release_before_can_not_live_with_is_refused_with_what_to_do_instead(before: Any, case: str) -> None:
    make, helps = REFUSED[case]
    verdicts = list(Rules(before).judge(make()))
    assert any(helps in verdict for verdict in verdicts), verdicts


@pytest.mark.parametrize("case", ALLOWED)
def test_what_it_can_live_with_is_allowed(before: Any, case: str) -> None:
    assert list(Rules(before).judge(ALLOWED[case]())) == []


@pytest.mark.django_db(transaction=True)
def test_an_index_and_a_check_are_made_while_others_write_and_again_after_an_interruption(before: Any) -> None:
    """Twice forwards: an interrupted try leaves an index that is invalid."""
    tried = [AddIndexOnline("CastTally", models.Index("start", name="tried_index"))]
    check = models.CheckConstraint(condition=Q(open__gte=0), name="tried_check")
    tried += [AddCheckOnline("CastTally", check)] if connection.vendor == "postgresql" else []  # type: ignore[list-item]
    for operation in tried:
        state = before.clone()
        operation.state_forwards("casts", state)
        for _ in range(2 if connection.vendor == "postgresql" else 1):
            with connection.schema_editor(atomic=False) as editor:
                operation.database_forwards("casts", editor, before, state)
        with connection.cursor() as cursor:
            name = getattr(operation, "index", getattr(operation, "constraint", None)).name  # type: ignore[union-attr]
            assert name in connection.introspection.get_constraints(cursor, "casts_casttally")
        with connection.schema_editor(atomic=False) as editor:
            operation.database_backwards("casts", editor, state, before)
    if connection.vendor == "postgresql":
        with pytest.raises(RuntimeError, match="atomic = False"), connection.schema_editor() as editor:
            tried[0].database_forwards("casts", editor, before, before)
