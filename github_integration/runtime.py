"""How a workflow spell runs: the two dispatches, and everything that is asked about a run afterwards."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from django.utils import timezone

from casts.lifecycle import binding, folding
from casts.models import Artifact, Cast, Spell
from casts.runtime import (
    Annotation,
    ArtifactGone,
    Download,
    Failure,
    Job,
    NotNow,
    Observation,
    RemoteArtifact,
    Run,
    RunGone,
    Turn,
)
from github_integration import errors, exclusive, identity, recent, remarks, turns, wire
from github_integration.api import Repository, github
from github_integration.exclusive import CLOCK_SLACK, LATEST_START
from github_integration.inputs import inputs_of, payload_of
from github_integration.models import WorkflowTarget
from github_integration.outcomes import dispatch_outcome, require_not_paused, translate_errors
from github_integration.refusals import refusals
from github_integration.remarks import Heard
from github_integration.routes import ROUTE
from github_integration.targets import installation_of, repository_of, run_id_of
from github_integration.words import WORDS

logger = logging.getLogger(__name__)

LOG_LINES = 20
LOG_BYTES = 256 * 1024  # of a log's end, to find its last error in
LOG_WAIT = dt.timedelta(seconds=20)  # logs appear a little after the run's end, and sometimes never
MOST_PAGES = 10  # GitHub gives a thousand at most
STOPPED = ("cancelled", "timed_out")  # how jobs end that were not allowed to go on
MOST_STOPPED = 3  # of these are asked why
MOST_ANNOTATIONS = 20
LONGEST_JOB = dt.timedelta(hours=6)  # `timeout-minutes` where a workflow sets none


class WorkflowRuntime:
    """What both kinds of workflow spell have in common: everything but the start. See casts.runtime.Runtime."""

    words, target, route = WORDS, WorkflowTarget, ROUTE
    event = ""

    def scope(self, spell: Spell) -> str:
        return WorkflowTarget.of(spell).repository_used

    def secrets(self, spell: Spell) -> set[str]:
        target = WorkflowTarget.of(spell)
        return {target.repository_used, target.workflow_used}

    def refusals(self, spell: Spell, given: Any) -> list[dict[str, str]]:
        return refusals(spell, given)

    def book(self, cast: Cast) -> Turn:
        installation = installation_of(cast)
        require_not_paused(installation)
        identity.learn(installation)
        if exclusive.is_exclusive(cast):
            exclusive.require_free(cast, self.event)
        turn, in_line = turns.book(installation, cast.account_id, place=cast.line_at)
        if not in_line:
            message = "Waiting its turn: GitHub limits what may be asked, and many are in line."
            raise NotNow(message, retry_at=turn.at, reason="waiting_for_turn")
        return turn

    def may_own(self, cast: Cast, seen: Observation) -> bool:
        """Whether it is a run of the spell's workflow, started by us, after we meant to."""
        meant_at = cast.created_at if cast.dispatch_attempts > 1 else cast.dispatch_started_at
        return (
            seen.trigger in ("", self.event)
            # News of a job names no file.
            and (self.file_of(cast) in ("", seen.workflow) or (not seen.workflow and seen.status is None))
            and (seen.made_at is None or meant_at is None or seen.made_at >= meant_at - CLOCK_SLACK)
            and identity.is_us(installation_of(cast), seen.actor)
        )

    def file_of(self, cast: Cast) -> str:
        """Return the file whose runs alone can be the cast's; blank: any."""
        return WorkflowTarget.of(cast.spell).workflow_file

    def find(self, cast: Cast) -> Observation | None:
        """Return the one run whose title carries the cast's tag, or that is the only new one where casts wait for it.

        None only if every run since the dispatch was looked at: the list is long in a busy repository.
        """
        assert cast.dispatch_started_at is not None
        since, repository = cast.dispatch_started_at - CLOCK_SLACK, repository_of(cast)
        with translate_errors(cast):
            identity.learn(repository.installation)
            listed = recent.runs(
                repository, self.event, account=cast.account_id, since=since, newer_than=cast.dispatch_started_at
            )
            runs, complete = list(listed.runs), listed.reaches(since)
            if not complete and not any(self.belongs(cast, seen) for seen in runs):
                # GitHub's filter by time lags, so it comes second; what it leaves out was in the newest pages above.
                # It was dispatched between these two, long apart only after a restore (casts.lifecycle.restored).
                latest = max(cast.dispatch_started_at, cast.answer_lost_at or cast.dispatch_started_at) + LATEST_START
                window = f"{since:%Y-%m-%dT%H:%M:%SZ}..{latest:%Y-%m-%dT%H:%M:%SZ}"
                more, complete = self._search(cast, repository, created=window)
                runs += [seen for seen in more if seen.run_key not in {one.run_key for one in listed.runs}]
            found = [seen for seen in runs if self.belongs(cast, seen)]
        if not found:
            for seen in listed.runs:
                if cast.run_tag in seen.title:
                    binding.note_several_tags(seen)
        if not found and not complete:
            raise NotNow(f"{cast.run_scope} has more new runs than GitHub lists; waiting for a webhook to tell.")
        if not found and not github().personal_token and not identity.name_of(repository.installation):
            raise NotNow("GitHub has not told yet who starts our runs.", reason="")  # ours may be among them
        if not found and exclusive.is_exclusive(cast) and not cast.spell.tags_runs:
            candidates = [seen for seen in runs if self.may_own(cast, seen)]
            return exclusive.only_new_run(cast, self.event, candidates)
        if len(found) > 1:  # one event can start several workflows; the first one is the cast's
            logger.warning("several runs carry one tag", extra={"cast_id": str(cast.pk), "runs": len(found)})
        return min(found, key=lambda seen: int(seen.run_key)) if found else None

    def _search(self, cast: Cast, repository: Repository, *, created: str) -> tuple[list[Observation], bool]:
        """Return the runs made in a time, and whether these are all."""
        found: list[Observation] = []
        for page in range(1, MOST_PAGES + 1):
            turns.spend(repository.installation, cast.account_id)
            runs = repository.runs(event=self.event, page=page, created=created)
            found += runs
            if len(runs) < 100:
                return found, True
        return found, False

    def belongs(self, cast: Cast, seen: Observation) -> bool:
        """Whether a listed run carries the cast's tag and no other, and may be its own."""
        return binding.RUN_TAG.findall(seen.title) == [str(cast.pk)] and self.may_own(cast, seen)

    def observe(self, cast: Cast, *, closely: bool) -> Observation:
        """Ask for the run and its jobs, or take the run from the list that all casts share.

        The jobs are asked for all the same when the run says that it has begun and no job is known to have.
        """
        run_id = run_id_of(cast)
        repository = repository_of(cast)
        can_wait = cast.run_finished_at is None and cast.cancel_requested_at is None
        if cast.observation is None and exclusive.is_exclusive(cast):
            exclusive.pass_on(cast)
        with translate_errors(cast):
            if not closely and (seen := self._listed(cast, repository)) is not None:
                if seen.status != "in_progress" or cast.started_at is not None:
                    return seen
                turns.spend(repository.installation, cast.account_id)
                return dataclasses.replace(seen, jobs=jobs_of(repository, run_id, attempt=seen.attempt))
            if can_wait:
                turns.spend(repository.installation, cast.account_id, 2)
            try:
                seen = repository.run(run_id)
            except (errors.NotFound, errors.Gone) as exc:
                raise RunGone(str(exc)) from exc
            return dataclasses.replace(seen, jobs=jobs_of(repository, run_id, attempt=seen.attempt))

    def _listed(self, cast: Cast, repository: Repository) -> Observation | None:
        """Return the cast's run as the shared list shows it, None if it is not among the newest."""
        listed = recent.runs(repository, self.event, account=cast.account_id)
        return next((seen for seen in listed.runs if seen.run_key == cast.run_key), None)

    def cancel(self, cast: Cast, *, force: bool) -> None:
        """Ask for the run's end; one that has already ended is no error."""
        run_id = run_id_of(cast)
        with translate_errors(cast):
            try:
                repository_of(cast).cancel(run_id, force=force)
            except (errors.NotFound, errors.Gone) as exc:
                raise RunGone(str(exc)) from exc
            except errors.Conflict as exc:
                if "completed" not in str(exc):
                    raise NotNow(str(exc), retry_at=timezone.now() + dt.timedelta(seconds=2)) from exc

    def failure(self, cast: Cast) -> Failure:
        """Return what the failed job said: its step, its annotations, and the last lines of its log."""
        heard: Heard = {}
        return dataclasses.replace(self._failure(cast, heard), heard=heard)

    def _failure(self, cast: Cast, heard: Heard) -> Failure:
        run_id = run_id_of(cast)
        if (cast.observation or {}).get("conclusion") == "cancelled":
            return self._cut_off(cast, heard)
        job = failed_job(cast.jobs)
        if job is None or job["conclusion"] == "cancelled":  # the webhook that tells may be late, or lost
            with translate_errors(cast):
                asked = repository_of(cast).jobs(run_id)
            job = failed_job([folding.job_row(one) for one in asked]) or job
        if job is None:
            return Failure()
        heard[job["id"]] = remarks.of_job(cast, job["id"])
        return self._explain(cast, job, heard[job["id"]])

    def _cut_off(self, cast: Cast, heard: Heard) -> Failure:
        """Return why a run was cancelled that nobody here wanted cancelled: its own time limit, or what GitHub says."""
        stopped = [job for job in cast.jobs if job["conclusion"] in STOPPED]
        waited = Failure()
        for job in sorted(stopped, key=ran_for, reverse=True)[:MOST_STOPPED]:
            heard[job["id"]] = told = remarks.of_job(cast, job["id"])
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
        since, until = (
            (wire.parse_time(step[name]) for name in ("started_at", "completed_at")) if step else (None, None)
        )
        logged = wire.errors_in_log(log, since, until)
        by_log = tuple(Annotation(message) for message in logged)
        found = Failure(job=job["name"], step=step["name"] if step else "", log_tail=wire.log_tail(log, LOG_LINES))
        if job["conclusion"] not in STOPPED:
            return dataclasses.replace(found, annotations=worth_telling(told or by_log, logged))
        limits = limits_in(told or by_log)
        return dataclasses.replace(
            found, annotations=limits, timed_out=bool(limits) or (told is None and ran_for(job) >= LONGEST_JOB)
        )

    def _log(self, cast: Cast, job: folding.Changes) -> str:
        """Return the end of a job's log, waiting for it a little; blank if it never comes."""
        try:
            with translate_errors(cast):
                return repository_of(cast).job_log(job["id"], last_bytes=LOG_BYTES)
        except NotNow as exc:
            if not isinstance(exc.__cause__, errors.NotFound | errors.Gone):
                raise
            if cast.run_finished_at and timezone.now() < cast.run_finished_at + LOG_WAIT:
                raise
        return ""

    def remarks(self, cast: Cast, failure: Failure) -> tuple[Annotation, ...] | None:
        return remarks.of_run(cast, failure.heard)

    def artifacts(self, cast: Cast) -> list[RemoteArtifact]:
        """List the newest artifact of each name.

        After a re-run GitHub lists earlier attempts' artifacts too. They count where jobs of those attempts do: if
        every job was run again, only what this attempt made is its own. They bear no attempt, only a time; the first
        attempt's are all its own, whatever the clocks say.
        """
        run_id = run_id_of(cast)
        with translate_errors(cast):
            listed = repository_of(cast).artifacts(run_id)
        seen = cast.observation or {}
        began = wire.parse_time(seen.get("run_started_at")) if seen.get("attempt", 1) > 1 else None
        if began is not None and any(ended_before(job, seen["attempt"], began) for job in cast.jobs):
            began = None
        newest: dict[str, RemoteArtifact] = {}
        for artifact in sorted(listed, key=lambda one: one.id):
            if began is None or artifact.made_at is None or artifact.made_at >= began:
                newest[artifact.name] = artifact
        return list(newest.values())

    def download(self, artifact: Artifact) -> Download:
        """Begin reading an artifact's bytes; trouble on the way is NotNow too."""
        cast = artifact.cast
        with translate_errors(cast):
            try:
                download = repository_of(cast).download(artifact.remote_id)
            except (errors.NotFound, errors.Gone) as exc:
                raise ArtifactGone(str(exc)) from exc
        return dataclasses.replace(download, chunks=_reading(cast, download.chunks))


class WorkflowDispatch(WorkflowRuntime):
    """Starts one workflow file at one ref; newer servers answer with the run's id."""

    event = "workflow_dispatch"

    def described(self, spell: Spell) -> str:
        target = WorkflowTarget.of(spell)
        return f"{target.repository_used}: {target.workflow_used} @ {target.ref_used}"

    def file_of(self, cast: Cast) -> str:
        return WorkflowTarget.of(cast.spell).workflow_used

    def start(self, cast: Cast, *, before: dt.datetime) -> Run | None:
        target = WorkflowTarget.of(cast.spell)
        if exclusive.is_exclusive(cast):
            exclusive.take(cast, self.event)
        return dispatch_outcome(
            cast,
            lambda: repository_of(cast).dispatch_workflow(
                target.workflow_used, ref=target.ref_used, inputs=inputs_of(cast), before=before
            ),
        )


class RepositoryDispatch(WorkflowRuntime):
    """Sends one event, which workflows on the default branch listen for; the run is known by its title alone."""

    event = "repository_dispatch"

    def described(self, spell: Spell) -> str:
        target = WorkflowTarget.of(spell)
        return f"{target.repository_used}: event {target.event_type}"

    def start(self, cast: Cast, *, before: dt.datetime) -> Run | None:
        if exclusive.is_exclusive(cast):
            exclusive.take(cast, self.event)
        event_type, payload = WorkflowTarget.of(cast.spell).event_type, payload_of(cast)
        dispatch_outcome(cast, lambda: repository_of(cast).dispatch_event(event_type, payload, before=before))
        return None


def jobs_of(repository: Repository, run_id: int, *, attempt: int) -> tuple[Job, ...]:
    """Return a run's jobs, after a re-run those of every attempt: some may not have been run again."""
    return repository.jobs(run_id, every_attempt=attempt > 1)


def ended_before(job: folding.Changes, attempt: int, began: dt.datetime) -> bool:
    """Whether a job counts in a later attempt as it ended before: listed as of then, or again with its old times."""
    ended = wire.parse_time(job["completed_at"])
    return bool(job["attempt"] < attempt or (ended is not None and ended < began))


def ran_for(job: folding.Changes) -> dt.timedelta:
    """Return how long a job that has ended took, as far as GitHub tells."""
    began, ended = wire.parse_time(job["started_at"]), wire.parse_time(job["completed_at"])
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


def _reading(cast: Cast, chunks: Iterator[bytes]) -> Iterator[bytes]:
    with translate_errors(cast):
        yield from chunks
