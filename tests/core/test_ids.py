"""Identifiers: of the right form, in the order in which they are made, and none twice."""

import datetime as dt
import time
import uuid

import pytest

from core.ids import first_id, made_at, uuid7


def test_what_one_process_makes_within_a_millisecond_is_in_order(monkeypatch: pytest.MonkeyPatch):
    moments = iter(range(1_764_158_400_123_000_000, 1_764_158_400_124_000_000, 250))  # nanoseconds
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [uuid7() for _ in range(4000)]
    assert made == sorted(made)
    assert len({made_at(one) for one in made}) == 1
    assert len({one.int & (1 << 62) - 1 for one in made}) == 4000  # the random part


@pytest.mark.parametrize("within", [0, 1, 244, 999_999])
def test_it_is_a_uuid_of_version_7_that_tells_its_millisecond(monkeypatch: pytest.MonkeyPatch, within: int):
    at = dt.datetime(2026, 11, 26, 12, 0, 0, 123_000, tzinfo=dt.UTC)
    monkeypatch.setattr(time, "time_ns", lambda: int(at.timestamp() * 1000) * 1_000_000 + within)
    made = uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made_at(made) == at
    assert first_id(at) < made < first_id(at + dt.timedelta(milliseconds=1))
    assert made.int >> 64 & 0xFFF == within * 4096 // 1_000_000
