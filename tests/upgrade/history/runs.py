"""Casts from before a run's id was text."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from casts.lifecycle import binding
from casts.models import Cast, MetadataMark, mark_of
from casts.runtime import Observation

AT = [("casts", "0015_targets_moved")]
NAME = "runs"
NUMBERS = (None, None, 7_000_000_001, 2**60)


def begin(old: Apps) -> None:
    def model(app: str, name: str) -> Any:
        return old.get_model(app, name)

    account = model("accounts", "Account").objects.create(name=NAME)
    spell = model("casts", "Spell").objects.create(key=NAME, name="Old")
    for number in NUMBERS:
        model("casts", "Cast").objects.create(
            **{"account": account, "spell": spell, "repository": "Demo/spells", "run_id": number, "cost_cents": 0},
            **{"input": {}, "metadata": {"number": str(number), "b": ""}},
            **{"created_at": timezone.now(), "expires_at": timezone.now()},
        )


def check() -> None:
    """They keep their runs, by which they are found."""
    casts = Cast.objects.filter(spell__key=NAME)
    kept = sorted(casts.values_list("run_scope", "run_key"), key=str)
    assert kept == sorted([("Demo/spells", number and str(number)) for number in NUMBERS], key=str)
    for cast in casts:  # lists find it by its metadata
        marks = {mark_of(cast.account_id, name, value) for name, value in cast.metadata.items()}
        assert marks == set(MetadataMark.objects.filter(cast=cast).values_list("mark", flat=True))
    assert MetadataMark.objects.filter(cast__in=casts).count() == 8
    for key in ("7000000001", str(2**60)):
        assert binding.find_cast(Observation("demo/spells", key)) == casts.get(run_key=key).pk
    try:
        with transaction.atomic():
            casts.filter(run_key=None).update(run_key="7000000001")
    except IntegrityError:
        return
    raise AssertionError("two casts have one run")


def check_back() -> None:
    """On the way back they are numbers again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.repository, c.run_id FROM casts_cast c JOIN casts_spell s ON c.spell_id = s.id WHERE s.key = %s",
            [NAME],
        )
        rows = sorted(map(tuple, cursor.fetchall()), key=str)
    assert rows == sorted([("Demo/spells", number) for number in NUMBERS], key=str)
