"""How a workflow spell runs: the two dispatches, and everything that is asked about a run afterwards."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.conf import settings
from django.utils import timezone

from casts.lifecycle import folding, moves
from casts.models import Artifact, Cast
from casts.runtime import (
    AccessLost,
    Annotation,
    ArtifactGone,
    DispatchRefused,
    Download,
    Failure,
    Job,
    NotNow,
    Observation,
    OutcomeUnknown,
    RemoteArtifact,
    Run,
    RunGone,
)
from github_integration import errors, identity, quota, recent, wire
from github_integration.client import github
from github_integration.models import PERSONAL, Installation

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOG_LINES = 20
LOG_BYTES = 256 * 1024  # of a log's end, to find its last error in
LOG_WAIT = dt.timedelta(seconds=20)  # logs appear a little after the run's end, and sometimes never
MOST_PAGES = 10  # GitHub gives a thousand at most
LATEST_START = dt.timedelta(minutes=15)  # how long after the request a run may come to be
CLOCK_SLACK = dt.timedelta(minutes=2)  # between GitHub's clock and ours
ASK_AGAIN = dt.timedelta(seconds=30)
STOPPED = ("cancelled", "timed_out")  # how jobs end that were not allowed to go on
MOST_STOPPED = 3  # of these are asked why
MOST_ANNOTATIONS = 20
LONGEST_JOB = dt.timedelta(hours=6)  # `timeout-minutes` where a workflow sets none
# Every 4xx that is no rate limit and none of ours to mend: GitHub answered before anything ran.
REFUSALS = (
    errors.PermissionMissing,
    errors.Conflict,
    errors.Gone,
    errors.Refused,
)


class WorkflowRuntime:
    """What both kinds of workflow spell have in common: everything but the start."""

    event = ""

    def book(self, cast: Cast) -> dt.datetime:
        """Return this cast's turn; see casts.runtime.Runtime."""
        installation = installation_of(cast)
        open_door(installation)
        identity.learn(installation)
        turn = quota.book(installation)
        if not turn.kept:
            message = "Waiting its turn: GitHub limits what may be asked, and many are in line."
            raise NotNow(message, retry_at=turn.at, reason="waiting_for_turn")
        return turn.at

    def may_own(self, cast: Cast, seen: Observation) -> bool:
        """Whether it is a run of the spell's workflow, started by us, after we meant to; see casts.runtime.Runtime."""
        meant_at = cast.created_at if cast.dispatch_attempts > 1 else cast.dispatch_started_at
        return (
            seen.trigger in ("", self.event)
            and (not seen.workflow or self.file_of(cast) in ("", seen.workflow))
            and (seen.made_at is None or meant_at is None or seen.made_at >= meant_at - CLOCK_SLACK)
            and identity.is_us(installation_of(cast), seen.actor)
        )

    def file_of(self, cast: Cast) -> str:
        """Return the file whose runs alone can be the cast's; blank: any."""
        return cast.spell.workflow_file

    def find(self, cast: Cast) -> Observation | None:
        """Return the one run whose title carries the cast's token; see casts.runtime.Runtime.

        None only if every run since the dispatch was looked at: the list is long in a busy repository.
        """
        assert cast.dispatch_started_at is not None
        since, installation = cast.dispatch_started_at - CLOCK_SLACK, installation_of(cast)
        with asking(cast):
            identity.learn(installation)
            listed = recent.runs(
                installation, cast.repository, self.event, since=since, newer_than=cast.dispatch_started_at
            )
            found, complete = [seen for seen in listed.runs if self.belongs(cast, seen)], listed.reaches(since)
            if not found and not complete:
                # GitHub's filter by time lags, so it comes second; what it leaves out was in the newest pages above.
                window = f"{since:%Y-%m-%dT%H:%M:%SZ}..{since + CLOCK_SLACK + LATEST_START:%Y-%m-%dT%H:%M:%SZ}"
                found, complete = self._search(cast, created=window)
        if not found and not complete:
            raise NotNow(f"{cast.repository} has more new runs than GitHub lists; waiting for a webhook to tell.")
        if not found and not github().personal_token and not identity.name_of(installation):
            raise NotNow("GitHub has not told yet who starts our runs.", reason="")  # ours may be among them
        if len(found) > 1:  # one event can start several workflows; the first one is the cast's
            logger.warning("several runs carry one token", extra={"cast_id": str(cast.pk), "runs": len(found)})
        return min(found, key=lambda seen: seen.run_id) if found else None

    def _search(self, cast: Cast, *, created: str) -> tuple[list[Observation], bool]:
        """Return the cast's runs of those made in a time, and whether these are all."""
        found: list[Observation] = []
        installation = installation_of(cast)
        for page in range(1, MOST_PAGES + 1):
            quota.spend(installation)
            runs = github().runs(installation, cast.repository, event=self.event, page=page, created=created)
            seen = [wire.run_seen(cast.repository, run) for run in runs]
            found += [one for one in seen if self.belongs(cast, one)]
            if len(runs) < 100:
                return found, True
        return found, False

    def belongs(self, cast: Cast, seen: Observation) -> bool:
        """Whether a listed run carries the cast's token and no other, and may be its own."""
        return moves.TOKEN.findall(seen.title) == [str(cast.pk)] and self.may_own(cast, seen)

    def observe(self, cast: Cast, *, closely: bool) -> Observation:
        """Ask for the run and its jobs, or take the run from the list that all casts share; see casts.runtime.Runtime.

        The jobs are asked for all the same when the run says that it has begun and no job is known to have.
        """
        assert cast.run_id is not None
        installation = installation_of(cast)
        can_wait = cast.run_finished_at is None and cast.cancel_requested_at is None
        with asking(cast):
            if not closely and (seen := self._listed(cast)) is not None:
                if seen.status != "in_progress" or cast.started_at is not None:
                    return seen
                quota.spend(installation)
                return dataclasses.replace(seen, jobs=self._jobs(cast, attempt=seen.attempt))
            if can_wait:
                quota.spend(installation, 2)
            try:
                run = github().run(installation, cast.repository, cast.run_id)
            except (errors.NotFound, errors.Gone) as exc:
                raise RunGone(str(exc)) from exc
            return wire.run_seen(cast.repository, run, jobs=self._jobs(cast, attempt=int(run.get("run_attempt") or 1)))

    def _listed(self, cast: Cast) -> Observation | None:
        """Return the cast's run as the shared list shows it, None if it is not among the newest."""
        listed = recent.runs(installation_of(cast), cast.repository, self.event)
        return next((seen for seen in listed.runs if seen.run_id == cast.run_id), None)

    def _jobs(self, cast: Cast, *, attempt: int) -> tuple[Job, ...]:
        """Return the run's jobs, after a re-run those of every attempt: some may not have been run again."""
        assert cast.run_id is not None
        listed = github().jobs(installation_of(cast), cast.repository, cast.run_id, every_attempt=attempt > 1)
        return tuple(wire.job_seen(job) for job in listed)

    def cancel(self, cast: Cast, *, force: bool) -> None:
        """Ask for the run's end; one that has already ended is no error."""
        assert cast.run_id is not None
        with asking(cast):
            try:
                github().cancel(installation_of(cast), cast.repository, cast.run_id, force=force)
            except (errors.NotFound, errors.Gone) as exc:
                raise RunGone(str(exc)) from exc
            except errors.Conflict as exc:
                if "completed" not in str(exc):
                    raise NotNow(str(exc), retry_at=timezone.now() + dt.timedelta(seconds=2)) from exc

    def failure(self, cast: Cast) -> Failure:
        """Return what the failed job said: its step, its annotations, and the last lines of its log."""
        assert cast.run_id is not None
        if (cast.observation or {}).get("conclusion") == "cancelled":
            return self._cut_off(cast)
        job = failed_job(cast.jobs)
        if job is None or job["conclusion"] == "cancelled":  # the webhook that tells may be late, or lost
            with asking(cast):
                asked = github().jobs(installation_of(cast), cast.repository, cast.run_id)
            job = failed_job([folding.job_row(wire.job_seen(j)) for j in asked]) or job
        return Failure() if job is None else self._explain(cast, job, self._annotations(cast, job))

    def _cut_off(self, cast: Cast) -> Failure:
        """Return why a run was cancelled that nobody here wanted cancelled: its own time limit, or what GitHub says."""
        stopped = [job for job in cast.jobs if job["conclusion"] in STOPPED]
        waited = Failure()
        for job in sorted(stopped, key=ran_for, reverse=True)[:MOST_STOPPED]:
            told = self._annotations(cast, job)
            if folding.beginning_of(job) is None:
                waited = Failure(job=job["name"], annotations=worth_telling(told or (), ()))
                continue
            found = self._explain(cast, job, told) if told is None or limits_in(told) else Failure()
            if found.timed_out:
                return found
        return waited if waited.annotations else Failure()

    def _explain(self, cast: Cast, job: folding.Changes, told: tuple[Annotation, ...] | None) -> Failure:
        """Return what one job says; a job that never began has no log to wait for."""
        bad = STOPPED if job["conclusion"] in STOPPED else ("failure",)
        step = next((step for step in job["steps"] if step["conclusion"] in bad), None)
        log = self._log(cast, job) if folding.beginning_of(job) is not None else ""
        since, until = (wire.moment(step[name]) for name in ("started_at", "completed_at")) if step else (None, None)
        logged = wire.errors_in_log(log, since, until)
        by_log = tuple(Annotation(message) for message in logged)
        found = Failure(job=job["name"], step=step["name"] if step else "", log_tail=wire.log_tail(log, LOG_LINES))
        if job["conclusion"] not in STOPPED:
            return dataclasses.replace(found, annotations=worth_telling(told or by_log, logged))
        limits = limits_in(told or by_log)
        return dataclasses.replace(
            found, annotations=limits, timed_out=bool(limits) or (told is None and ran_for(job) >= LONGEST_JOB)
        )

    def _annotations(self, cast: Cast, job: folding.Changes) -> tuple[Annotation, ...] | None:
        """Return what was remarked on a job; None where we may not know: the permission is worth having, not needed."""
        try:
            with asking(cast):
                told = github().annotations(installation_of(cast), cast.repository, job["id"])
        except NotNow as exc:
            if isinstance(exc.__cause__, errors.NotFound | errors.Gone | errors.PermissionMissing | errors.Refused):
                return None
            raise
        return tuple(wire.annotation_seen(one) for one in told)

    def _log(self, cast: Cast, job: folding.Changes) -> str:
        """Return the end of a job's log, waiting for it a little; blank if it never comes."""
        try:
            with asking(cast):
                return github().job_log(installation_of(cast), cast.repository, job["id"], last_bytes=LOG_BYTES)
        except NotNow as exc:
            if not isinstance(exc.__cause__, errors.NotFound | errors.Gone):
                raise
            if cast.run_finished_at and timezone.now() < cast.run_finished_at + LOG_WAIT:
                raise
        return ""

    def artifacts(self, cast: Cast) -> list[RemoteArtifact]:
        """List the newest artifact of each name.

        After a re-run GitHub lists earlier attempts' artifacts too. They count where jobs of those attempts do: if
        every job was run again, only what this attempt made is its own. They bear no attempt, only a time; the first
        attempt's are all its own, whatever the clocks say.
        """
        assert cast.run_id is not None
        with asking(cast):
            listed = github().artifacts(installation_of(cast), cast.repository, cast.run_id)
        seen = cast.observation or {}
        began = wire.moment(seen.get("run_started_at")) if seen.get("attempt", 1) > 1 else None
        if began is not None and any(ended_before(job, seen["attempt"], began) for job in cast.jobs):
            began = None
        newest: dict[str, wire.JSON] = {}
        for artifact in sorted(listed, key=lambda a: int(a["id"])):
            made = wire.moment(artifact.get("created_at"))
            if began is None or made is None or made >= began:
                newest[str(artifact["name"])] = artifact
        return [wire.artifact_seen(a) for a in newest.values()]

    def download(self, artifact: Artifact) -> Download:
        """Begin reading an artifact's bytes."""
        cast = artifact.cast
        with asking(cast):
            try:
                chunks, kind = github().artifact_bytes(installation_of(cast), cast.repository, artifact.remote_id)
            except (errors.NotFound, errors.Gone) as exc:
                raise ArtifactGone(str(exc)) from exc
        return Download(chunks=_reading(cast, chunks), content_type=kind)


class WorkflowDispatch(WorkflowRuntime):
    """Starts one workflow file at one ref; newer servers answer with the run's id."""

    event = "workflow_dispatch"

    def file_of(self, cast: Cast) -> str:
        """Return the file that it dispatches."""
        return cast.spell.target_workflow

    def start(self, cast: Cast, *, before: dt.datetime) -> Run | None:
        """Dispatch; see casts.runtime.Runtime."""
        spell = cast.spell
        return dispatching(
            cast,
            lambda: github().dispatch_workflow(
                installation_of(cast),
                cast.repository,
                spell.target_workflow,
                ref=spell.target_ref,
                inputs=inputs_of(cast),
                before=before,
            ),
        )


class RepositoryDispatch(WorkflowRuntime):
    """Sends one event, which workflows on the default branch listen for; the run is known by its title alone."""

    event = "repository_dispatch"

    def start(self, cast: Cast, *, before: dt.datetime) -> Run | None:
        """Send the event; see casts.runtime.Runtime."""
        dispatching(
            cast,
            lambda: github().dispatch_event(
                installation_of(cast), cast.repository, cast.spell.event_type, dict(inputs_of(cast)), before=before
            ),
        )
        return None


def ended_before(job: folding.Changes, attempt: int, began: dt.datetime) -> bool:
    """Whether a job counts in a later attempt as it ended before: listed as of then, or again with its old times."""
    ended = wire.moment(job["completed_at"])
    return bool(job["attempt"] < attempt or (ended is not None and ended < began))


def ran_for(job: folding.Changes) -> dt.timedelta:
    """Return how long a job that has ended took, as far as GitHub tells."""
    began, ended = wire.moment(job["started_at"]), wire.moment(job["completed_at"])
    return ended - began if began and ended else dt.timedelta()


def limits_in(told: Iterable[Annotation]) -> tuple[Annotation, ...]:
    """Return those that say that a job reached its own time limit."""
    return tuple(one for one in told if wire.reached_its_limit(one.message))


def worth_telling(told: Iterable[Annotation], logged: tuple[str, ...]) -> tuple[Annotation, ...]:
    """Return the errors among a job's annotations that say more than that it failed, those of the failed step alone.

    They don't name their step; its part of the log does, each with its first line.
    """
    errors = [one for one in told if one.level == "error" and not wire.is_commonplace(one.message)]
    mine = [one for one in errors if one.message.split("\n", 1)[0].strip() in logged] if logged else errors
    return tuple(mine[:MOST_ANNOTATIONS])


def failed_job(jobs: list[folding.Changes]) -> folding.Changes | None:
    """Return the job that failed; those that it took down with it are cancelled, and may come before it."""
    ended_badly = [job for job in jobs if job["conclusion"] not in (None, "success", "skipped", "neutral")]
    return min(ended_badly, key=lambda job: job["conclusion"] == "cancelled", default=None)


def inputs_of(cast: Cast) -> dict[str, str]:
    """Return what a spell's workflow receives: three strings, the input as JSON text."""
    text = json.dumps(cast.input, ensure_ascii=False, separators=(",", ":"))
    return {"cast_id": str(cast.pk), "spell_key": cast.spell.key, "input_data": text}


def installation_of(cast: Cast) -> int:
    """Return whose token and whose rate limit this cast uses."""
    return PERSONAL if github().personal_token else (cast.spell.target_installation or PERSONAL)


def dispatching(cast: Cast, call: Callable[[], T]) -> T:
    """Make a dispatch call and say what its failure means: refused, nothing happened, or nobody knows."""
    try:
        with asking(cast, unknown=True):
            return call()
    except errors.NotFound as exc:
        file = f", and does it hold {cast.spell.target_workflow}" if cast.spell.runtime == "workflow_dispatch" else ""
        installation = installation_of(cast)
        whose = (
            "GITHUB_TOKEN allowed" if installation == PERSONAL else f"the App (installation {installation}) installed"
        )
        raise DispatchRefused(
            f"{exc}. GitHub says so of what is not there and of what we may not see: is {cast.repository} the right "
            f"name, is {whose} on it{file}?"
        ) from exc
    except REFUSALS as exc:
        raise DispatchRefused(str(exc)) from exc
    except errors.GitHubError as exc:
        raise OutcomeUnknown(str(exc)) from exc


def open_door(installation: int) -> Installation:
    """Return what is known of the installation; raise NotNow if GitHub must not be asked for it now."""
    known = quota.known(installation)
    if quota.is_paused(known):
        reason = Installation.Pause(known.pause_reason)
        raise NotNow(waiting_message(reason, known.pause_message), retry_at=known.paused_until, reason=reason)
    return known


@contextmanager
def asking(cast: Cast, *, unknown: bool = False) -> Iterator[None]:
    """Turn GitHub's trouble into NotNow; with `unknown`, leave alone what is no proof that nothing happened."""
    installation = installation_of(cast)
    known = open_door(installation)
    try:
        yield
    except errors.RateLimited as exc:
        until = quota.rate_limited(installation, until=exc.retry_at, message=str(exc))
        reason = Installation.Pause.RATE_LIMITED
        raise NotNow(waiting_message(reason, str(exc)), retry_at=until, reason=reason) from exc
    except errors.NotSent as exc:
        logger.warning("GitHub can't be reached", extra={"cast_id": str(cast.pk), "why": str(exc)})
        quota.unanswered(installation, message=str(exc))
        later = timezone.now() + dt.timedelta(seconds=settings.GITHUB_TIMEOUT)
        raise NotNow("GitHub can't be reached at the moment; trying again.", retry_at=later) from exc
    except errors.Suspended as exc:
        until = quota.suspended(installation, message=str(exc))
        reason = Installation.Pause.SUSPENDED
        raise NotNow(waiting_message(reason, str(exc)), retry_at=until, reason=reason) from exc
    except errors.InstallationGone as exc:
        patience = dt.timedelta(seconds=settings.CAST_LOST_SECONDS)  # an operator may have mistyped the id just now
        reason, since = Installation.Pause.REMOVED, quota.removed(installation)
        if timezone.now() >= since + patience:
            raise AccessLost(str(exc), reason=reason) from exc
        later = min(since + patience, timezone.now() + ASK_AGAIN)
        raise NotNow(waiting_message(reason, str(exc)), retry_at=later, reason=reason) from exc
    except (errors.NotConfigured, errors.AuthFailed) as exc:  # ours to mend, not the caller's fault
        message = str(exc) if isinstance(exc, errors.NotConfigured) else f"GitHub doesn't take our credentials: {exc}"
        message += f". {clock}." if (clock := exc.clock(timezone.now())) else ""
        raise NotNow(message, retry_at=timezone.now() + ASK_AGAIN, reason="github_not_configured") from exc
    except errors.GitHubError as exc:
        if isinstance(exc, errors.Unavailable):
            quota.unanswered(installation, message=str(exc))
        if unknown:
            raise
        raise NotNow(f"GitHub: {exc}", reason="waiting_for_github") from exc
    else:
        quota.answered(known, github().told(installation))


def waiting_message(reason: Installation.Pause, why: str) -> str:
    """Say what is waited for, and what GitHub said."""
    words = {
        Installation.Pause.RATE_LIMITED: "GitHub's rate limit is reached; waiting for it to end.",
        Installation.Pause.SUSPENDED: "The GitHub App's installation is suspended; its owner must end that on GitHub.",
        Installation.Pause.REMOVED: "GitHub doesn't know the App's installation; making sure.",
        Installation.Pause.UNAVAILABLE: "GitHub does not answer at the moment; trying again soon.",
    }
    return f"{words[reason]} ({why})"


def _reading(cast: Cast, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with asking(cast):
        yield from chunks
