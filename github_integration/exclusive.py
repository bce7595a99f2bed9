"""Runs that carry no tag, on servers that don't name the run they start: one cast of a workflow at a time.

While one is being started no other is, and its run is the only new run that our bot has started since. What can't be
told apart is left alone: the cast ends as dispatch_lost, and the next one waits until that cast's run can no longer
come to be.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from django.conf import settings
from django.utils import timezone

from casts.lifecycle import binding, waking
from casts.models import Cast, CastStatus
from casts.runtime import NotNow, Observation
from casts.versions import each_as_accepted
from github_integration import identity
from github_integration.api import github
from github_integration.models import ExclusiveStart, WorkflowTarget
from github_integration.targets import installation_of

LATEST_START = dt.timedelta(minutes=15)  # how long after the request a run may come to be
CLOCK_SLACK = dt.timedelta(minutes=2)  # between GitHub's clock and ours
HELD = LATEST_START + CLOCK_SLACK  # then a run that is taken for a later cast's can't be an earlier one's
ASK_AGAIN = dt.timedelta(seconds=5)
REASON = "waiting_for_turn"
MESSAGE = "Waiting its turn: casts of this workflow are started one at a time."


def is_exclusive(cast: Cast) -> bool:
    return WorkflowTarget.of(cast.spell).matching == WorkflowTarget.Matching.EXCLUSIVE


def workflow_of(cast: Cast, event: str) -> dict[str, str]:
    """Return what casts share that are started one at a time, by GitHub's rules for what is the same."""
    target = WorkflowTarget.of(cast.spell)
    file = target.workflow_used if event == "workflow_dispatch" else target.workflow_file
    return {"repository": cast.run_scope.lower(), "event": event, "workflow_file": file}


def require_free(cast: Cast, event: str) -> None:
    """Raise NotNow while a run may come to be that belongs to another cast of the workflow."""
    if (rival := rival_of(cast, event)) is not None:
        raise NotNow(MESSAGE, retry_at=held_until(rival), reason=REASON)


def take(cast: Cast, event: str) -> None:
    """Take the workflow for this cast, whose dispatch is announced already; raise NotNow if another has it.

    Between the two nobody else can take it: whoever looks at its holder sees a dispatch whose run is not known.
    """
    row, _ = ExclusiveStart.objects.select_related("cast").get_or_create(
        **workflow_of(cast, event), defaults={"cast": cast}
    )
    if row.cast_id == cast.pk:
        return
    if (busy_until := held_until(row.cast)) is not None:
        raise NotNow(MESSAGE, retry_at=busy_until, reason=REASON)
    if not ExclusiveStart.objects.filter(pk=row.pk, cast=row.cast_id).update(cast=cast):
        raise NotNow(MESSAGE, retry_at=timezone.now() + ASK_AGAIN, reason=REASON)


def held_until(holder: Cast | None) -> dt.datetime | None:
    """Return when to ask again, None if a cast no longer has its workflow to itself."""
    if holder is None or holder.run_key is not None or holder.dispatch_started_at is None:
        return None
    if holder.status_reason == "dispatch_refused":
        return None
    soon, over = timezone.now() + ASK_AGAIN, holder.dispatch_started_at + HELD
    return soon if not holder.final else max(over, soon) if over > timezone.now() else None


def only_new_run(cast: Cast, event: str, runs: Iterable[Observation]) -> Observation | None:
    """Return the one run among those listed that can only be the cast's; None if there is none, or more than one.

    `runs`: those that may be its own by workflow, event and time, of which the list must be complete. Raise NotNow
    until a second one would have been seen.
    """
    assert cast.dispatch_started_at is not None
    if github().personal_token:  # its user starts runs by hand, too
        return None
    ours, earliest = identity.name_of(installation_of(cast)).lower(), cast.dispatch_started_at - CLOCK_SLACK
    # Titles with another cast's tag are that cast's.
    new = [seen for seen in runs if ours and seen.actor.lower() == ours and not binding.RUN_TAG.search(seen.title)]
    # Of several dispatches the last one: others' runs may have come since the first.
    new = [seen for seen in new if seen.made_at is None or seen.made_at >= earliest]
    taken = Cast.objects.filter(run_scope__iexact=cast.run_scope, run_key__in=[seen.run_key for seen in new])
    others = set(taken.exclude(pk=cast.pk).values_list("run_key", flat=True))
    new = [seen for seen in new if seen.run_key not in others]
    if len(new) != 1 or not new[0].workflow:
        return None
    settled_at = cast.dispatch_started_at + dt.timedelta(seconds=settings.CAST_EXCLUSIVE_SECONDS)
    if timezone.now() < settled_at:
        raise NotNow("Making sure that no second run comes.", retry_at=settled_at, reason="")
    if (rival := rival_of(cast, event)) is not None:
        if rival.final:
            return None
        raise NotNow("Another cast's run is not known yet.", retry_at=timezone.now() + ASK_AGAIN, reason="")
    return new[0]


def rival_of(cast: Cast, event: str) -> Cast | None:
    """Return another cast, of whatever spell, that may have started a run of this workflow which nobody knows.

    One that is open, if there is any: it will be known before long.
    """
    same = workflow_of(cast, event)
    relation = WorkflowTarget.relation()
    since = timezone.now() - HELD
    unknown = Cast.objects.filter(run_scope__iexact=cast.run_scope, run_key=None, dispatch_started_at__gte=since)
    unknown |= Cast.objects.filter(binding.RUNLESS, run_scope__iexact=cast.run_scope)
    others = unknown.exclude(pk=cast.pk).exclude(status_reason="dispatch_refused")
    opened = others.select_related("spell", f"spell__{relation}")
    rivals = [
        other
        for other in each_as_accepted(opened.order_by("dispatch_started_at"))
        if other.spell.runtime == event and workflow_of(other, event) == same
    ]
    return max(rivals, key=lambda other: not other.final, default=None)


def pass_on(cast: Cast) -> None:
    """Have the next cast of the spell tried, once the run of this one is known."""
    waiting = Cast.due_rows().filter(
        spell=cast.spell_id, status=CastStatus.QUEUED, status_reason=REASON, dispatch_started_at=None
    )
    first = waiting.order_by("pk").values_list("pk", flat=True).first()
    if first is not None:
        waking.wake(first)
