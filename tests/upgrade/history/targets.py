"""Spells from before their targets had a table."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db import connection

from casts.models import Spell
from github_integration.models import WorkflowTarget

AT = [("casts", "0014_answer_lost"), ("github_integration", "0004_recent_runs")]
COLUMNS = ("repository", "workflow_file", "ref", "event_type", "installation_id")
TARGETS: list[tuple[Any, ...]] = [
    ("target-blank", "", "", "", "", None),
    ("target-event", "", "", "", "go", None),
    ("target-full", "demo/spells", "cast.yml", "v2", "", 2**40),
]


def begin(old: Apps) -> None:
    spells: Any = old.get_model("casts", "Spell")
    for key, *values in TARGETS:
        runtime = {"runtime": "repository_dispatch"} if key == "target-event" else {}
        spells.objects.create(
            key=key, name=key, carries_token=key == "target-full", **runtime, **dict(zip(COLUMNS, values, strict=True))
        )


def check() -> None:
    """They keep where they run."""
    kept = WorkflowTarget.objects.filter(spell__key__startswith="target-").order_by("spell__key")
    assert list(kept.values_list("spell__key", *COLUMNS)) == TARGETS
    tagged = Spell.objects.filter(key__startswith="target-", tags_runs=True)
    assert list(tagged.values_list("key", flat=True)) == ["target-full"]


def check_back() -> None:
    """So they do on the way back, in their own table."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT key, {', '.join(COLUMNS)} FROM casts_spell WHERE key LIKE 'target-%%' ORDER BY key", [])
        assert [tuple(row) for row in cursor.fetchall()] == TARGETS
