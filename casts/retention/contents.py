"""What is left of a cast's state when its output, or what its run said, is deleted: in its row and in its events."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from casts.models import CastStatus, Kept

State = dict[str, Any]
SAID = "What its run said of that was deleted after {days} days."


def note(days: int) -> str:
    return SAID.format(days=days)


def blanked(state: State, gone: Container[str], days: int) -> State:
    """Return a cast's state, as events hold it, without what is gone. `days`: after which what its run said is."""
    left = dict(state)
    if Kept.OUTPUT in gone:
        left |= {name: None for name in ("output", "summary") if name in left}
    if Kept.LOG in gone:
        left |= {"steps": [], "step": None}
        left |= {"annotations": None} if "annotations" in left else {}
        if left.get("final") and left.get("status") != CastStatus.SUCCEEDED:
            left["message"] = note(days)
    left["error"] = blanked_error(left.get("error"), gone, days)
    return left


def blanked_error(error: State | None, gone: Container[str], days: int) -> State | None:
    """Return what may still be said of why a cast failed."""
    if error is None:
        return None
    if Kept.LOG in gone:
        kept = ("reason", "run_url", "errors")
        error = {name: error[name] for name in kept if name in error} | {"message": note(days)}
    if Kept.OUTPUT in gone:  # what was wrong with it may quote it
        error = {name: value for name, value in error.items() if name != "errors"}
    return error
