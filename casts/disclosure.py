"""What is left out of a cast: where it runs, if its spell does not show that; everything in it, for a viewer.

Rows and events keep the whole text, which operators read in the admin. What callers get goes through `public` when it
is read, so a switch that is flipped also counts for casts and events that exist. What viewers get goes through
`status_only`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from casts.models import Cast, CastStatus
from casts.pricing import NOTHING_REPORTED
from casts.runtime import Words, runtime_for, target_relations, words_of
from casts.versions import as_accepted, each_as_accepted

Data = dict[str, Any]

HIDDEN = "***"
# Reasons whose messages are our own words, or the workflow's about itself. Those of all others may quote the runtime.
OWN_WORDS = frozenset(
    (
        *("accepted", "waiting_for_slot", "waiting_for_turn", "waiting_for_runner", "waiting_for_approval"),
        *("confirming_dispatch", "running", "copying_artifacts", "cancelling", "succeeded", "run_failed", "timed_out"),
        *("output_invalid", "output_lost", "dispatch_lost", "expired", "run_deleted", "internal_error"),
        *("cancelled_by_caller", "cancelled_by_operator"),
    )
)
# For reasons that the runtime's words leave out.
OTHERWISE = "The operator can see why."

# What may be read by who may not read what is in a cast. The rest is blank, so that the shape stays.
STATUS = (
    *("cast_id", "spell_key", "status", "status_reason", "progress"),
    *("started_at", "finished_at", "duration_ms", "charged_cents", "final"),
)
BLANK: Data = {
    **{"step": None, "run_url": None, "steps": [], "artifacts": []},
    **{"output": None, "summary": None, "annotations": None, "error": None},
}
# In place of messages, which may quote the run.
SAID = {
    CastStatus.QUEUED: "Waiting for its run.",
    CastStatus.RUNNING: "Its run is under way.",
    CastStatus.SUCCEEDED: "It succeeded.",
    CastStatus.FAILED: "It failed.",
    CastStatus.CANCELLED: "It was cancelled.",
}


@dataclass(frozen=True)
class Mask:
    """Replaces the names of a cast's repository, file and run in a text."""

    names: re.Pattern[str] | None
    words: Words  # of what runs the cast

    def __call__(self, text: str) -> str:
        return self.names.sub(HIDDEN, text) if self.names else text


def public(cast: Cast, data: Data, mask: Mask | None = None) -> Data:
    """Return a cast's state, or what an event holds of it, as callers may see it; `mask`: the cast's, if known."""
    return data if cast.spell.show_run else without_run(data, mask or mask_of(cast))


def mask_of(cast: Cast) -> Mask:
    spell = as_accepted(cast).spell
    # Also where it runs now: a text may come from there, or say it.
    secrets = [runtime_for(one.runtime).secrets(one) for one in (spell, spell.original) if one is not None]
    names = {cast.run_url, cast.run_scope}.union(*secrets) - {""}
    # One name may begin with another; a pattern takes the first alternative that fits.
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    found = re.compile("|".join(re.escape(name) for name in longest_first), re.IGNORECASE) if names else None
    return Mask(found, words_of(cast))


def masks_of(cast_ids: Iterable[Any]) -> dict[Any, Mask]:
    """Return the masks of several casts, by their ids; in one query, or none if there are none."""
    wanted = set(cast_ids)
    if not wanted:
        return {}
    targets = target_relations("spell__")
    read = ("run_scope", "run_url", "spell_version", "spell__runtime", "spell__version", *targets)
    casts = Cast.objects.filter(pk__in=wanted).select_related("spell", *targets).only(*read)
    return {cast.pk: mask_of(cast) for cast in each_as_accepted(casts)}


def without_run(data: Data, mask: Mask) -> Data:
    """Return a cast's state without the run's address, without the runtime's words, and with names masked."""
    error, step = data["error"], data["step"]
    return data | {
        "run_url": None,
        "message": said(data["status_reason"], data["message"], mask),
        "step": step and mask(step),
        "steps": [one | {"job": mask(one["job"]), "name": mask(one["name"])} for one in data["steps"]],
        "error": error and without_run_in_error(error, mask),
        "annotations": without_run_in_remarks(data["status_reason"], data.get("annotations"), mask),
        "charge": with_note(data.get("charge"), mask),
    }


def status_only(data: Data) -> Data:
    """Return a cast's state, or what an event holds of it, without anything that is in the cast."""
    shown = {name: data[name] for name in STATUS} | {"charge": with_note(data.get("charge"), without_why)}
    return shown | {"message": SAID[data["status"]]} | BLANK


def with_note(charge: Data | None, changed: Callable[[str], str]) -> Data | None:
    """Return how a charge was computed, of which older events say nothing, with its note changed."""
    return charge and charge | {"note": charge["note"] and changed(charge["note"])}


def without_why(note: str) -> str:
    # What follows says what is wrong with the result.
    return NOTHING_REPORTED if note.startswith(NOTHING_REPORTED) else note


def said(reason: str, message: str, mask: Mask) -> str:
    return mask(message) if reason in OWN_WORDS else mask.words.without_run.get(reason, OTHERWISE)


def without_run_in_error(error: Data, mask: Mask) -> Data:
    changed: Data = {"message": said(error["reason"], error["message"], mask)} if "message" in error else {}
    changed |= {"run_url": None} if "run_url" in error else {}
    if error["reason"] not in OWN_WORDS and "annotations" in error:
        changed["annotations"] = []  # the runtime wrote them, not the workflow
    return {name: changed[name] if name in changed else masked(value, mask) for name, value in error.items()}


def without_run_in_remarks(reason: str, remarks: list[Data] | None, mask: Mask) -> list[Data] | None:
    if remarks is None:  # or an event of before there were any
        return None
    return masked(remarks, mask) if reason in OWN_WORDS else []  # the runtime may have written them


def masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked(one, mask) for one in value]
    return {name: masked(one, mask) for name, one in value.items()} if isinstance(value, dict) else value
