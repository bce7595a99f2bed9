"""What was remarked on a run's jobs, by their steps with `::warning::` and the like, or by GitHub: its annotations.

They are worth having, and no cast needs them: without the permission Checks: read there are none, and while requests
must be spared none are asked for.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from django.utils import timezone

from casts.lifecycle import folding
from casts.models import Cast
from casts.runtime import Annotation, NotNow
from core.limits import ANNOTATED_JOBS
from github_integration import errors, turns, wire
from github_integration.api import github
from github_integration.outcomes import translate_errors
from github_integration.targets import installation_of, repository_of

T = TypeVar("T")
Heard = dict[int, tuple[Annotation, ...] | None]

REFUSED_FOR = 3600.0  # seconds that an installation without the permission is not asked again, by this process
AT_ONCE = dt.timedelta(seconds=10)  # for all that is asked of a run when its cast ends


def of_job(cast: Cast, job_id: int) -> tuple[Annotation, ...] | None:
    """Return what was remarked on a job; None where that may not be known. Raise NotNow."""
    return allowed(cast, partial(repository_of(cast).annotations, job_id))


def of_run(cast: Cast, heard: Mapping[int, tuple[Annotation, ...] | None]) -> tuple[Annotation, ...] | None:
    """Return what was remarked on a run that has ended, each with its job; `heard`: of jobs that were asked about.

    None where that may not be known. One call tells which jobs have any, unless there is one job only; then one for
    each that has, those that failed first. What says nothing of this run is left out. Raise NotNow; nothing is tried a
    second time.
    """
    until = timezone.now() + AT_ONCE
    known: Heard = dict(heard)
    if None in known.values():
        return None
    jobs = [job for job in cast.jobs if job["conclusion"] != "skipped"]
    unheard = [job["id"] for job in jobs if job["id"] not in known]
    suite = (cast.observation or {}).get("remarks")
    if suite and len(unheard) > 1:
        counted = asked(cast, until, partial(repository_of(cast).annotated, suite, tries=1))
        if counted is None:
            return None
        unheard = [job_id for job_id in unheard if counted.get(job_id)]
    failed = {job["id"] for job in jobs if job["conclusion"] not in ("success", "neutral")}
    room = max(0, ANNOTATED_JOBS - sum(bool(told) for told in known.values()))
    for job_id in sorted(unheard, key=lambda one: one not in failed)[:room]:
        known[job_id] = asked(cast, until, partial(repository_of(cast).annotations, job_id, tries=1))
        if known[job_id] is None:
            return None
    return tuple(one for job in jobs for one in worth_keeping(job, known.get(job["id"]) or ()))


def worth_keeping(job: folding.Changes, told: tuple[Annotation, ...]) -> list[Annotation]:
    return [dataclasses.replace(one, job=job["name"]) for one in told if not wire.is_commonplace(one.message)]


def asked(cast: Cast, until: dt.datetime, call: Callable[[], T]) -> T | None:
    """Make a call that is worth little: counted as a look, and not after `until`. Raise NotNow."""
    if timezone.now() > until:
        raise NotNow("GitHub takes too long", reason="")
    turns.spend(installation_of(cast), cast.account_id)
    return allowed(cast, call)


def allowed(cast: Cast, call: Callable[[], T]) -> T | None:
    """Make a call that needs the permission Checks: read; None without it, which is then known for an hour."""
    refused, installation = github().without_checks, installation_of(cast)
    if refused.get(installation, 0.0) > time.monotonic():
        return None
    try:
        with translate_errors(cast):
            return call()
    except NotNow as exc:
        if isinstance(exc.__cause__, errors.NotFound | errors.Gone | errors.PermissionMissing | errors.Refused):
            if errors.lacks_permission(exc.__cause__):
                refused[installation] = time.monotonic() + REFUSED_FOR
            return None
        raise
