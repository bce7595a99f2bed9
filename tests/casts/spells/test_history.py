"""How casts usually go, as a sweep adds it up from the ledger."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from casts.lifecycle import ending
from casts.models import Cast, CastStatus, SpellHistory
from casts.spells import history
from casts.spells.history import History
from tests.casts.conftest import claim


def end(cast: Cast, seconds: float, status: CastStatus = CastStatus.SUCCEEDED) -> None:
    ending.end(claim(cast), status, reason="test", message="Ended.", charge=True)
    ended = Cast.objects.get(pk=cast.pk)
    assert ended.finished_at is not None
    began = ended.finished_at - dt.timedelta(seconds=seconds)
    Cast.objects.filter(pk=cast.pk).update(started_at=began)


def test_what_has_ended_since_is_added_once(make_cast: Any, spell: Any, django_assert_num_queries: Any):
    assert history.sweep() == 0
    for seconds in (10, 20):
        end(make_cast(), seconds)
    make_cast()  # still open
    history.sweep()
    assert history.of_spells([spell.pk]) == {}, "of two casts nothing is said"
    last = make_cast()
    end(last, 30)
    end(make_cast(), 1, CastStatus.CANCELLED)
    end(make_cast(), 99, CastStatus.FAILED)
    assert [history.sweep(), history.sweep()] == [1, 0]
    with django_assert_num_queries(1):
        found = history.of_spells([spell.pk])
    assert found == {spell.pk: History(casts=4, success_rate=0.75, usual_seconds=20, p95_seconds=30)}
    assert history.usual_of(last) == found[spell.pk]


def test_the_newest_count(make_cast: Any, spell: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "KEPT", 3)
    for seconds in (1, 2, 3, 4, 5):
        end(make_cast(), seconds)
        history.sweep()
    assert SpellHistory.objects.get().ends == [[True, 3], [True, 4], [True, 5]]
    assert history.of_spells([spell.pk])[spell.pk].usual_seconds == 4


def test_two_workers_count_an_end_once(make_cast: Any, spell: Any):
    for _ in range(3):
        end(make_cast(), 5)
    history.sweep()
    row = SpellHistory.objects.get()
    assert not history.add(spell.pk, [(row.entry, [True, 5])]) or SpellHistory.objects.get().casts == 3
