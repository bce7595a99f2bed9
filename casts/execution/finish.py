"""The end of a cast whose run has ended: copy its artifacts, learn why it failed, read its result, settle."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.utils import timezone

from casts import pricing
from casts.execution import artifacts, results
from casts.lifecycle import ending, moves, observing
from casts.models import Artifact, Cast, CastStatus, PriceKind
from casts.runtime import AccessLost, Annotation, Failure, NotNow, RunGone, Words, runtime_of, words_of
from core.limits import ANNOTATIONS_SHOWN
from core.telemetry.tracing import spanned

logger = logging.getLogger(__name__)

RETRY = dt.timedelta(seconds=3)
GONE_WAIT = dt.timedelta(seconds=15)  # a run that has just ended may be unknown to some of the servers
LIST_WAIT = dt.timedelta(days=1)  # until a run whose artifacts can't even be listed counts as one that left none
# Conclusions with which a run succeeded, and those that are its own fault, for which it may be charged.
SUCCESS = ("success", "neutral")
RUN_FAULT = ("failure", "timed_out")
LEVELS = ("error", "warning", "notice")  # of annotations, in the order in which they are shown
Remarks = list[dict[str, Any]] | None


@spanned("cast collect", moves.facts_of)
def collect(cast: Cast) -> dt.datetime | None:
    """Copy what the ended run left and end the cast; after CAST_ARTIFACT_WAIT_SECONDS of trouble, without the copies.

    What it left must be known by then, or the cast could end without a result that exists and that nobody would copy.
    """
    assert cast.run_finished_at is not None
    patient = timezone.now() < cast.run_finished_at + dt.timedelta(seconds=settings.CAST_ARTIFACT_WAIT_SECONDS)
    unlisted, settled, failure, again = True, False, Failure(), timezone.now() + RETRY
    ran: bool | None = None
    try:
        ran = has_run(cast)
        artifacts.register_artifacts(cast)
        unlisted = False
        complete = artifacts.copy_pending(cast)
        if needs_explaining(cast):
            failure = runtime_of(cast).failure(cast)
        settled = complete
    except NotNow as exc:
        logger.warning("the run's end is not complete yet", extra={"cast_id": str(cast.pk), "why": str(exc)})
        if unlisted and vanished(cast):
            message = words_of(cast).gone
            gone: dict[str, Any] = {"reason": "run_deleted", "message": message}
            ending.end(cast, CastStatus.FAILED, reason="run_deleted", message=message, error=gone, charge=False)
            return None
        again = min(exc.retry_at or again, timezone.now() + 10 * RETRY)
    except Exception:
        logger.exception("the run's end could not be read", extra={"cast_id": str(cast.pk)})
        unlisted = False  # a bug of ours does not pass with time
    if not settled and (patient or (unlisted and may_be_listed(cast))):  # an unread list is worth a longer wait
        return again
    artifacts.schedule_rest(cast)
    remarks = no_remarks if unlisted else partial(remarks_on, cast, failure)
    try:
        finish(cast, failure, remarks, ran=ran)
    except OSError as exc:
        logger.exception("the stored result can't be read", extra={"cast_id": str(cast.pk)})
        if patient:
            return timezone.now() + RETRY
        message = "The run succeeded, but its result could not be read from our storage."
        why = exc.strerror or type(exc).__name__  # str() names the file, and so the server's folders
        error = {"reason": "output_lost", "message": message, "errors": [{"pointer": "/output", "detail": why}]}
        ending.end(cast, CastStatus.FAILED, reason="output_lost", message=message, error=error, charge=False)
    return None


def vanished(cast: Cast) -> bool:
    """Return whether the run was deleted before it could be asked what it left, or why it failed.

    A run that was cancelled has nothing more to tell.
    """
    assert cast.run_finished_at is not None
    if conclusion_of(cast) == "cancelled" or timezone.now() < cast.run_finished_at + GONE_WAIT:
        return False
    try:
        runtime_of(cast).observe(cast, closely=True)
    except RunGone:
        return True
    except NotNow:
        pass
    return False


def may_be_listed(cast: Cast) -> bool:
    """Return whether to go on waiting for the list of artifacts: none has come yet, and the run still exists."""
    assert cast.run_finished_at is not None
    if cast.artifacts.exists() or timezone.now() > cast.run_finished_at + LIST_WAIT:
        return False
    try:
        runtime_of(cast).observe(cast, closely=True)
    except (RunGone, AccessLost):
        return False
    except NotNow:
        pass
    return True


def has_run(cast: Cast) -> bool | None:
    """Return whether any step of any job of the ended run has begun; None if nobody can say. Raise NotNow.

    Asks for the jobs unless all are known to have ended and one to have begun: a webhook told of the run's end, and
    those about jobs may be late or lost. After a re-run in any case: webhooks may be silent on jobs that were kept.
    """
    all_ended = bool(cast.jobs) and all(job["status"] == "completed" for job in cast.jobs)
    if all_ended and cast.started_at is not None and (cast.observation or {}).get("attempt", 1) == 1:
        return True
    try:
        seen = runtime_of(cast).observe(cast, closely=True)
    except RunGone:
        return True if cast.started_at is not None else None
    observing.observe(cast.pk, seen)
    cast.refresh_from_db(fields=["status", "jobs", "observation", "started_at"])
    if cast.started_at is not None or seen.jobs is None:
        return True
    if conclusion_of(cast) in (*SUCCESS, *RUN_FAULT) and any(job.status != "completed" for job in seen.jobs):
        raise NotNow(words_of(cast).jobs_outstanding)
    return False


def conclusion_of(cast: Cast) -> str:
    return str((cast.observation or {}).get("conclusion") or "unknown")


def needs_explaining(cast: Cast) -> bool:
    conclusion = conclusion_of(cast)  # a cancel of ours needs no explanation
    return conclusion not in SUCCESS and not (conclusion == "cancelled" and cast.cancel_reason)


def remarks_on(cast: Cast, failure: Failure) -> Remarks:
    """Return what was remarked on the run, in our words; None if that can't be had now: no end waits for it."""
    try:
        told = runtime_of(cast).remarks(cast, failure)
    except NotNow as exc:
        logger.info("annotations can't be had now", extra={"cast_id": str(cast.pk), "why": str(exc)})
        return None
    except Exception:  # a bug of ours, or of the runtime's: worth no cast's end
        logger.exception("annotations could not be read", extra={"cast_id": str(cast.pk)})
        return None
    if told is None:
        return None
    by_level = sorted(told, key=lambda one: LEVELS.index(one.level) if one.level in LEVELS else len(LEVELS))
    return [annotation_line(one) | {"job": one.job or None} for one in by_level[:ANNOTATIONS_SHOWN]]


def no_remarks() -> None:
    return None


def finish(cast: Cast, failure: Failure, remarks: Callable[[], Remarks], *, ran: bool | None) -> None:
    """End the cast by its run's conclusion. `ran`: see `has_run`; what is not known to have run is not charged.

    `remarks` is asked once, when nothing else can keep the cast from ending.
    """
    conclusion = conclusion_of(cast)
    own_limit = failure.timed_out and conclusion in ("failure", "cancelled")
    if conclusion in SUCCESS:
        finish_success(cast, remarks, ran=ran is not False)
        return
    left = left_by_failed(cast, remarks)
    if conclusion == "cancelled" and not own_limit:
        end_cancelled(cast, cast.cancel_reason or "cancelled_on_github", said(failure), left=left)
    else:
        reason, message = why_failed(words_of(cast), conclusion, failure, ran=ran, own_limit=own_limit)
        own = said(failure)
        error: dict[str, Any] = {"reason": reason, "message": own or message, "failed_job": failure.job or None}
        error |= {"failed_step": failure.step or None, "log_tail": list(failure.log_tail), "run_url": cast.run_url}
        error["annotations"] = [annotation_line(one) for one in failure.annotations]
        charge = (own_limit or conclusion in RUN_FAULT) and ran is True and cast.spell.charge_failed_runs
        message = f"{message.removesuffix('.')}: {own}" if own else message
        ending.end(cast, CastStatus.FAILED, reason=reason, message=message, error=error, charge=charge, left=left)


def left_by_failed(cast: Cast, remarks: Callable[[], Remarks]) -> ending.Left:
    """Return what a run that did not succeed says for people, as far as it can be read, and that it costs.

    Of such a run no result is expected, so nothing is said of one that is missing.
    """
    kept, found = result_artifact(cast), results.Result()
    if kept is not None and kept.state == Artifact.State.STORED:
        try:
            found = results.read(kept, cast.spell, takes_report=pricing.takes_report(cast))
        except OSError:
            logger.exception("the stored summary can't be read", extra={"cast_id": str(cast.pk)})
    report = found.report if found.output is not None else None
    return ending.Left(summary=found.summary, annotations=remarks(), report=report)


def not_copied(artifact: Artifact, *, why: bool = True) -> str:
    if artifact.state == Artifact.State.PENDING:
        return f"The artifact {artifact.name} was still being copied."
    return f"The artifact {artifact.name} could not be copied" + (f": {artifact.error}" if why else ".")


def result_artifact(cast: Cast) -> Artifact | None:
    """Return the artifact that the spell's result is in, if the run left it; None for a spell that names none."""
    name = cast.spell.result_artifact
    return cast.artifacts.filter(name=name).first() if name else None


def why_failed(
    words: Words, conclusion: str, failure: Failure, *, ran: bool | None, own_limit: bool
) -> tuple[str, str]:
    reason, message = conclusion, words.ended_as.format(conclusion=conclusion)
    if ran is False and (own_limit or conclusion in RUN_FAULT):
        reason = "never_ran"
        message = words.never_ran
    elif own_limit or conclusion == "timed_out":
        reason = "timed_out"
        message = words.own_limit
    elif conclusion == "failure":
        reason = "run_failed"
        message = "The run failed" + (f" in step {failure.step!r}." if failure.step else ".")
    return reason, message


def said(failure: Failure) -> str:
    """Return what the step, or who runs it, said was wrong: its first error, in one line; blank if it said nothing."""
    errors = [one.message for one in failure.annotations if one.level == "error"]
    return " ".join(errors[0].split()) if errors else ""


def annotation_line(one: Annotation) -> dict[str, Any]:
    return {
        "level": one.level,
        "title": one.title or None,
        "message": one.message,
        "file": one.file or None,
        "line": one.line,
    }


def finish_success(cast: Cast, remarks: Callable[[], Remarks], *, ran: bool) -> None:
    """End a cast whose run succeeded, unless its result can't be read or breaks the spell's promise.

    A run of which every job was skipped is not charged.
    """
    kept = result_artifact(cast)
    stored = kept if kept is not None and kept.state == Artifact.State.STORED else None
    still_coming = cast.artifacts.filter(state=Artifact.State.PENDING).exists()
    result = results.read(stored, cast.spell, takes_report=pricing.takes_report(cast))
    if result.report is not None and stored is None and kept is not None:
        result.report = pricing.Report(None, not_copied(kept, why=False))  # it may quote the runtime
    if result.problems and stored is None and kept is not None:
        result.unreadable = not_copied(kept)
        result.problems = [{"pointer": "/output", "detail": result.unreadable}]
    left = ending.Left(output=result.output, summary=result.summary, annotations=remarks(), report=result.report)
    # A result that is still being copied is not held against the run.
    if result.problems and not (stored is None and still_coming):
        message = "The run succeeded, but its result does not keep to the spell's output schema."
        if result.unreadable:
            message = f"The run succeeded, but its result can't be read. {result.unreadable}"
        error = {"reason": "output_invalid", "message": message, "errors": result.problems}
        charge = ran and cast.spell.charge_failed_runs
        ending.end(
            cast, CastStatus.FAILED, reason="output_invalid", message=message, error=error, charge=charge, left=left
        )
        return
    message = "Done." if not still_coming else "Done; some artifacts are still being copied."
    message += f" Its summary is left out: {result.note}" if result.note else ""
    ending.end(cast, CastStatus.SUCCEEDED, reason="succeeded", message=message, charge=ran, left=left)


ENDED_BY_US = {
    "expired": (CastStatus.FAILED, "It was not started in time."),
    "timed_out": (CastStatus.FAILED, "It ran longer than the spell allows and was cancelled."),
    "cancelled_by_caller": (CastStatus.CANCELLED, "Cancelled, as asked."),
    "cancelled_by_operator": (CastStatus.CANCELLED, "Cancelled by the operator."),
    "cancelled_on_github": (CastStatus.CANCELLED, ""),  # the runtime has its own words for it
}


def end_cancelled(cast: Cast, reason: str, own: str = "", *, left: ending.Left = ending.NOTHING_LEFT) -> None:
    """End a cast whose run was cancelled, or never came, for `reason`; `own` is what the runtime said about it.

    A run that took too long is its own fault, if it had begun. Minutes that its caller had it work are paid for by who
    cancels it, too.
    """
    status, message = ENDED_BY_US[reason]
    message = message or words_of(cast).cancelled
    message = f"{message.removesuffix('.')}: {own}" if own else message
    by_minutes = pricing.Price.of_cast(cast).kind == PriceKind.PER_MINUTE
    paid = cast.spell.charge_failed_runs if reason == "timed_out" else by_minutes and reason == "cancelled_by_caller"
    charge = cast.started_at is not None and paid
    error = {"reason": reason, "message": message} if status == CastStatus.FAILED else None
    ending.end(cast, status, reason=reason, message=message, error=error, charge=charge, left=left)
