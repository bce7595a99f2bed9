"""What each event does: a table of handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.utils import timezone

from casts.lifecycle import binding, observing
from casts.lifecycle.observing import Observed
from casts.runtime import Observation
from github_integration import quota, wire
from github_integration.models import Installation
from github_integration.spell_files import events
from webhooks.models import Delivery

Payload = dict[str, Any]
T = TypeVar("T")
Outcome = Delivery.Outcome
RUN_IDS = range(1, 2**63)  # what the database holds


# What only the bodies of one event hold, at their top.
MARKS = {
    "workflow_run": "workflow_run",
    "workflow_job": "workflow_job",
    "zen": "ping",
    "repositories_added": "installation_repositories",
    "target_type": "installation_target",
    "pusher": "push",
}
NEEDED = {"installation": "installation", "repository": "repository", **{event: mark for mark, event in MARKS.items()}}


class BadValue(ValueError):
    """A body that GitHub has signed holds what can't be; str() says what."""


def misfit(event: str, payload: Payload) -> str | None:
    """Return why a body is not that of the event that its header names; None if it may be."""
    if NEEDED[event] not in payload:
        return f"The body is not that of a {event} event: it has no {NEEDED[event]!r}"
    others = [other for mark, other in MARKS.items() if mark in payload and other != event]
    return f"The body is that of a {others[0]} event, and X-GitHub-Event says {event}" if others else None


def reading(read: Callable[..., T], *given: Any) -> T:
    """Return what is read from a body. Raise BadValue for values of the wrong type or size."""
    try:
        return read(*given)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError) as exc:
        raise BadValue(f"{type(exc).__name__}: {exc}") from exc


def repository_of(payload: Payload) -> str:
    """Return owner/name, blank for an event without a repository."""
    return wire.plain((payload.get("repository") or {}).get("full_name"))


def run_of(event: str, payload: Payload) -> int | None:
    """Return the id of the run that an event is about, None for none. A malformed body raises whatever it causes."""
    if event == "workflow_run":
        run_id = payload["workflow_run"]["id"]
    elif event == "workflow_job":
        run_id = payload["workflow_job"]["run_id"]
    else:
        return None
    if type(run_id) is not int or run_id not in RUN_IDS:
        raise ValueError(f"{str(run_id)[:40]!r} is no run's id")
    return run_id


def run_observed(payload: Payload) -> Observation:
    return reading(wire.run_seen, repository_of(payload), payload["workflow_run"])


def job_observed(payload: Payload) -> Observation:
    told = payload["workflow_job"]
    job, repository, run_id = reading(wire.job_seen, told), repository_of(payload), int(told["run_id"])
    made_at = wire.parse_time(told.get("created_at"))
    return Observation(repository, str(run_id), attempt=job.attempt, jobs=(job,), made_at=made_at)


# What is told of a run. If a cast has it, nothing but that cast is to be read and written.
OBSERVED: dict[str, Callable[[Payload], Observation]] = {"workflow_run": run_observed, "workflow_job": job_observed}


def fold_all(seen: Sequence[Observation]) -> list[Outcome | None]:
    """Apply observations, in this order, to the casts that have their runs; None where none is found."""
    observed = observing.observe_runs(seen)
    return [None if one is Observed.NO_CAST else OUTCOMES[one] for one in observed]


def workflow_run(payload: Payload) -> Outcome:
    """Apply what GitHub says about a run; if the run is not ours, neither are its jobs."""
    seen = run_observed(payload)
    outcome = fold(seen)
    if outcome == Outcome.NOT_OURS:
        binding.note_several_tags(seen)
        of_its_jobs = Delivery.of_run(seen.run_scope, int(seen.run_key)).filter(event="workflow_job")
        # Not those that failed, or that a worker is trying at this moment: these settle themselves.
        of_its_jobs.filter(outcome=Outcome.PENDING, error="", lease_until=None).update(
            outcome=Outcome.NOT_OURS, due_at=None, applied_at=timezone.now()
        )
    return outcome


def workflow_job(payload: Payload) -> Outcome:
    """Apply what GitHub says about a job. It names no title, so the run must be known already."""
    seen = job_observed(payload)
    return fold(seen, judged=lambda: _is_nobodys(seen.run_scope, int(seen.run_key)))


def _is_nobodys(repository: str, run_id: int) -> bool:
    """Whether a delivery about the run itself has shown that no cast has it."""
    told = Delivery.of_run(repository, run_id).filter(event="workflow_run")
    return told.filter(outcome=Outcome.NOT_OURS).exists()


OUTCOMES = {
    Observed.NO_CAST: Outcome.NOT_OURS,
    Observed.NOTHING_NEW: Outcome.NOTHING_NEW,
    Observed.CHANGED: Outcome.APPLIED,
}


def fold(seen: Observation, *, judged: Callable[[], bool] = lambda: False) -> Outcome:
    """Apply an observation to its cast; PENDING while it may belong to a cast whose run is not known yet.

    `judged` tells, if no cast is known to have the run, whether it is settled already that none will.
    """
    observed = observing.observe_run(seen)
    if observed is Observed.NO_CAST:
        if not judged() and binding.may_be_ours(seen):
            return Outcome.PENDING
        # Its cast may have learnt of it between the two questions.
        observed = observing.observe_run(seen)
    return OUTCOMES[observed]


def installation(payload: Payload) -> Outcome:
    """Record what happened to an installation: created, deleted, suspended or resumed."""
    about = reading(wire.installation_seen, payload["installation"])
    changes: dict[str, Any] = {"account_login": about.login, "suspended_at": about.suspended_at}
    changes["removed_at"] = timezone.now() if payload.get("action") == "deleted" else None
    before = Installation.objects.filter(pk=about.id).first()
    Installation.objects.update_or_create(pk=about.id, defaults=changes)
    if before is not None and before.suspended_at and not changes["suspended_at"]:
        quota.suspension_ended(before.pk)
    reading(lambda: events.installed(payload, installation=about.id, removed=changes["removed_at"] is not None))
    return Outcome.APPLIED


def push(payload: Payload) -> Outcome:
    """Have the spell files of a repository looked at."""
    return Outcome.APPLIED if reading(events.pushed, payload) else Outcome.NOT_OURS


def repository(payload: Payload) -> Outcome:
    """Note another name or default branch of a repository, or its end."""
    return Outcome.APPLIED if reading(events.changed, payload) else Outcome.NOTHING_NEW


def installation_repositories(payload: Payload) -> Outcome:
    """Note which repositories came to an installation, and which went."""
    return Outcome.APPLIED if reading(events.repositories_changed, payload) else Outcome.NOTHING_NEW


def note(payload: Payload) -> Outcome:
    """Change nothing: the delivery is only kept."""
    return Outcome.NOTHING_NEW


# Events that are not in here are answered with 202 and not kept.
HANDLERS: dict[str, Callable[[Payload], Outcome]] = {
    "workflow_run": workflow_run,
    "workflow_job": workflow_job,
    "ping": note,
    "installation": installation,
    "installation_repositories": installation_repositories,
    "installation_target": note,
    "push": push,
    "repository": repository,
}
# What the App's log of deliveries need not be searched for: the lists of repositories tell of all these.
LISTED_ANYWAY = ("push", "repository")


def is_kept(event: str, payload: Payload) -> bool:
    """Whether a delivery is stored; a push to any branch but the default one is of no use."""
    return event != "push" or events.is_kept(payload)
