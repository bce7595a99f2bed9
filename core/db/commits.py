"""What is done once a transaction has been committed, and may fail without harm to what was."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from django.db import transaction

P = ParamSpec("P")


def once_committed(what: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call `what` after the commit; if it raises, that is logged, and what else is to be done is still done."""
    # Not functools.partial: Django names what failed by its __qualname__, which a partial does not have.
    transaction.on_commit(lambda: what(*args, **kwargs), robust=True)
