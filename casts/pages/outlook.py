"""What such casts usually take, and what is left of this one: what was, never a promise. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils.dateparse import parse_datetime

from casts.pages.texts import left, usually


def outlook_of(shown: dict[str, Any], usual_seconds: float | None, now: dt.datetime) -> dict[str, Any]:
    """Return what the page says of a cast's future; `usual_seconds`: how long a run of its spell usually takes."""
    usual = f"usually {usually(usual_seconds)}" if usual_seconds else ""
    if shown["final"]:
        return {"text": ""}
    if shown["started_at"] is None:
        return {"text": " ".join(filter(None, [place(shown["queue_position"]), usual and once_begun(usual)]))}
    if not usual_seconds:
        return {"text": ""}
    began = parse_datetime(shown["started_at"])
    assert began is not None
    rest = usual_seconds - (now - began).total_seconds()
    texts = {"left": f"{usual}, about {{}} left", "longer": f"{usual}; this takes longer than usual"}
    # The script fills the same sentences in as time goes by.
    ends = began + dt.timedelta(seconds=usual_seconds)
    return texts | {
        "ends": ends.isoformat(),
        "text": texts["left"].format(left(rest)) if rest > 0 else texts["longer"],
    }


def once_begun(usual: str) -> str:
    return f"{usual[0].upper()}{usual[1:]}, once it has begun."


def place(position: int | None) -> str:
    """Return a cast's place in the line for a slot, blank if it waits for none."""
    if position is None:
        return ""
    return "Next in line." if position == 1 else f"Place {position:,} in line."
