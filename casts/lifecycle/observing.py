"""What is seen of a run becomes part of its cast. What an observation changes, `casts.lifecycle.folding` says."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from enum import Enum
from typing import Any

from django.db import transaction
from django.utils import timezone

from casts import metrics
from casts.lifecycle import binding, events, folding, moves
from casts.models import Cast, CastEvent, CastStatus, Spell
from casts.runtime import Observation
from core.db.compiled import OneOf, Params, Select
from core.queue import wakeups
from core.telemetry import tracing

# In one order: of two that lock several casts, neither waits for what the other will lock.
LOCKED_BY_RUNS = Select(
    lambda: moves.locked().filter(OneOf("run_key", Params(Cast, "run_key", "run_keys"))).order_by("pk")
)


class Observed(Enum):
    """What an observation of a run came to."""

    NO_CAST = "no cast"  # none is known to have the run
    NOTHING_NEW = "nothing new"
    CHANGED = "changed"  # something that the cast's caller sees


def observe(cast_id: uuid.UUID, seen: Observation) -> bool:
    """Fold one observation into its cast; return whether anything public changed.

    Any order and any repetition gives the same end: see `casts.lifecycle.folding`.
    """
    with transaction.atomic(savepoint=False):
        if (cast := moves.LOCKED.first(id=cast_id)) is None:
            raise Cast.DoesNotExist
        return _fold_all([(cast, seen)])[0]


def observe_run(seen: Observation) -> Observed:
    with transaction.atomic(savepoint=False):
        [observed] = observe_runs([seen])
        if observed is Observed.NO_CAST:
            _count_once_committed(observed)
        return observed


def observe_runs(seen: Sequence[Observation]) -> list[Observed]:
    """Fold what was seen of runs, in this order, into their casts, in one transaction.

    These are the casts that are known to have the runs, and those that the runs' titles name.
    """
    with transaction.atomic(savepoint=False):
        owners = _owners(seen)
        strangers = [one for one in seen if _run_of(one) not in owners]
        if strangers and binding.bind_by_titles(strangers):
            # Read again also if that bound nothing: two messages about a new run may come together.
            owners |= _owners(strangers)
        found = [owners.get(_run_of(one)) for one in seen]
        folded = iter(_fold_all([(cast, one) for cast, one in zip(found, seen, strict=True) if cast is not None]))
        observed = [Observed.NO_CAST if cast is None else _observed(next(folded)) for cast in found]
        for one in observed:
            if one is not Observed.NO_CAST:  # who finds none looks for another
                _count_once_committed(one)
        return observed


def _owners(seen: Sequence[Observation]) -> dict[tuple[str, str], Cast]:
    """Return, locked, the casts that are known to have these runs, by their runs."""
    casts = LOCKED_BY_RUNS.all(run_keys=list({one.run_key for one in seen}))
    return {(cast.run_key or "", cast.run_scope.lower()): cast for cast in casts}


def _run_of(seen: Observation) -> tuple[str, str]:
    return seen.run_key, seen.run_scope.lower()


def _count_once_committed(observed: Observed) -> None:
    transaction.on_commit(metrics.FOLDS.labels(observed.value.replace(" ", "_")).inc)


def _observed(public: bool) -> Observed:
    return Observed.CHANGED if public else Observed.NOTHING_NEW


class _Writing:
    """What folding changes in casts whose rows are locked: each cast is written once, and all events together."""

    def __init__(self) -> None:
        self.changes: dict[uuid.UUID, tuple[Cast, dict[str, Any]]] = {}
        self.events: list[CastEvent] = []
        self.tagged: dict[int, set[int | None]] = {}  # the versions of spells whose runs carry the tag

    def write(self) -> None:
        alike: dict[tuple[str, frozenset[str]], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        for pk, (cast, changes) in self.changes.items():
            alike.setdefault((cast.status, frozenset(changes)), []).append((changes, {"id": pk}))
        for (status, _), rows in alike.items():
            if moves.GUARDED[CastStatus(status)].each(rows) != len(rows):
                pks = ", ".join(str(values["id"]) for _, values in rows)
                raise RuntimeError(f"Of the casts {pks} one may not be {status}, and its row was locked.")
        events.append_all(self.events)
        for spell_id, versions in sorted(self.tagged.items()):  # in one order, as they are locked
            for version in versions:
                of_this_version = Spell.objects.filter(pk=spell_id)
                if version is not None:  # the runs of another target than the spell's teach nothing about its own
                    of_this_version = of_this_version.filter(version=version)
                of_this_version.update(tags_runs=True)


def _fold_all(seen: Sequence[tuple[Cast, Observation]]) -> list[bool]:
    """Fold observations into casts whose rows are locked; return of each whether anything public changed."""
    writing = _Writing()
    changed = [_fold(cast, one, writing) for cast, one in seen]
    writing.write()
    return changed


def _fold(cast: Cast, seen: Observation, writing: _Writing) -> bool:
    """Fold an observation into a cast whose row is locked; return whether anything public changed."""
    with tracing.span("cast fold", moves.facts_of(cast), under=cast.traceparent):
        return _folded(cast, seen, writing)


def _folded(cast: Cast, seen: Observation, writing: _Writing) -> bool:
    if cast.final:
        return _note_rerun(cast, seen, writing)
    changes = folding.fold(cast, seen)
    if not changes or cast.status not in moves.ALLOWED_FROM[CastStatus(changes.get("status", cast.status))]:
        return False
    if folding.needs_look(cast, changes):
        changes["due_at"] = min(cast.due_at or timezone.now(), timezone.now())
        transaction.on_commit(wakeups.work_is_due)
    public = any(name in changes and getattr(cast, name) != changes[name] for name in folding.PUBLIC)
    kind = _kind_of(cast, changes)
    if public:
        changes["last_seq"] = cast.last_seq + 1
    for name, value in changes.items():
        setattr(cast, name, value)
    writing.changes.setdefault(cast.pk, (cast, {}))[1].update(changes)
    if public:
        writing.events.append(events.line(cast, kind, at=timezone.now()))
    if not cast.spell.tags_runs and binding.RUN_TAG.search(seen.title) and cast.run_tag in seen.title:
        writing.tagged.setdefault(cast.spell_id, set()).add(cast.spell_version)
    return public


def _kind_of(cast: Cast, changes: dict[str, Any]) -> str:
    if "run_finished_at" in changes:
        return "run_finished"
    if changes.get("step_name", cast.step_name) != cast.step_name:
        return "step"
    return "observed"


def _note_rerun(cast: Cast, seen: Observation, writing: _Writing) -> bool:
    # A re-run after the end is a line in the history, nothing else: the result and the price stay.
    if cast.run_attempt is None or seen.attempt <= cast.run_attempt:
        return False
    cast.run_attempt, cast.last_seq = seen.attempt, cast.last_seq + 1
    Cast.objects.filter(pk=cast.pk).update(run_attempt=cast.run_attempt, last_seq=cast.last_seq)
    writing.events.append(events.line(cast, "rerun_on_github", at=timezone.now()))
    return True
