"""A clock that stands still, and a process that has handed out nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core import rationing
from core.rationing import allowances, penalties, visits
from tests.casts.conftest import cast, make_cast, runtime  # noqa: F401 - fixtures

BEGIN = 1_764_000_000.0  # a whole minute


class Clock:
    """What rationing takes for now."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


def new_process() -> None:
    """Forget what a process keeps in memory."""
    for module in (allowances, penalties, visits):
        module.forget_all()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(rationing, "now", clock)
    settings.RATION_LONGEST_WAIT_SECONDS = 900
    new_process()
    yield clock
    new_process()
