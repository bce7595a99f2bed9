"""Noticing that the database is away, or locked: who waits together then waits for that once, not one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError

P = ParamSpec("P")
T = TypeVar("T")

IN_A_ROW = 2  # one alone may be itself the cause


class Away:
    """Of what is done one by one: after failures of the database in a row the rest fails as the last one did."""

    def __init__(self) -> None:
        self.failures = 0
        self.last: Exception | None = None

    def unless(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` does, and raise what it raises, without trying it when the database is away."""
        if self.failures >= IN_A_ROW and self.last is not None:
            raise self.last.with_traceback(None)  # or it grows by each that is told of it
        try:
            done = work(*args, **kwargs)
        except (OperationalError, InterfaceError) as exc:
            self.failures, self.last = self.failures + 1, exc
            raise
        except Exception:
            self.failures = 0
            raise
        self.failures = 0
        return done
