"""The end of a cast whose run has ended: copy its artifacts, learn why it failed, read its result, settle."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from django.conf import settings
from django.utils import timezone

from casts import artifacts, lifecycle, results
from casts.models import Artifact, Cast, CastStatus
from casts.runtime import AccessLost, Failure, NotNow, RunGone, runtime_of

logger = logging.getLogger(__name__)

RETRY = dt.timedelta(seconds=3)
LIST_WAIT = dt.timedelta(days=1)  # until a run whose artifacts can't even be listed counts as one that left none
# How the end of a run reads as the end of a cast: (status, the run itself is to blame). Design: states, money.
SUCCESS = ("success", "neutral")
RUN_FAULT = ("failure", "timed_out")


def collect(cast: Cast) -> dt.datetime | None:
    """Bring in what the ended run left and end the cast; after CAST_ARTIFACT_WAIT_SECONDS of trouble, end without.

    What it left must be known for that: else it would end without a result that exists, and nobody would copy it later.
    """
    assert cast.run_finished_at is not None
    patient = timezone.now() < cast.run_finished_at + dt.timedelta(seconds=settings.CAST_ARTIFACT_WAIT_SECONDS)
    unlisted, settled, failure, again = True, False, Failure(), timezone.now() + RETRY
    try:
        if not all(job["status"] == "completed" for job in cast.jobs) or not cast.jobs:
            refresh(cast)
        artifacts.list_left(cast)
        unlisted = False
        complete = artifacts.bring_in(cast)
        if conclusion_of(cast) not in SUCCESS:
            failure = runtime_of(cast).failure(cast)
        settled = complete
    except NotNow as exc:
        logger.warning("the run's end is not complete yet", extra={"cast_id": str(cast.pk), "why": str(exc)})
        again = min(exc.retry_at or again, timezone.now() + 10 * RETRY)
    except Exception:
        logger.exception("the run's end could not be read", extra={"cast_id": str(cast.pk)})
        unlisted = False  # a bug of ours does not pass with time
    if not settled and (patient or (unlisted and may_be_listed(cast))):
        return again
    artifacts.leave_to_copier(cast)
    try:
        finish(cast, failure)
    except OSError as exc:
        logger.exception("the stored result can't be read", extra={"cast_id": str(cast.pk)})
        if patient:
            return timezone.now() + RETRY
        message = "The run succeeded, but its result could not be read from our storage."
        error = {"reason": "output_lost", "message": message, "errors": [{"pointer": "/output", "detail": str(exc)}]}
        lifecycle.end(cast, CastStatus.FAILED, reason="output_lost", message=message, error=error, charge=False)
    return None


def may_be_listed(cast: Cast) -> bool:
    """Whether there is any point in waiting for the list: there was none before, and the run still exists."""
    assert cast.run_finished_at is not None
    if cast.artifacts.exists() or timezone.now() > cast.run_finished_at + LIST_WAIT:
        return False
    try:
        runtime_of(cast).observe(cast)
    except (RunGone, AccessLost):
        return False
    except NotNow:
        pass
    return True


def refresh(cast: Cast) -> None:
    """Look at the run once more: a webhook told us of its end, and its jobs' ends may not have come."""
    try:
        lifecycle.observe(cast.pk, runtime_of(cast).observe(cast))
    except RunGone:
        return
    cast.refresh_from_db(fields=["jobs", "observation"])


def conclusion_of(cast: Cast) -> str:
    """Return the run's conclusion as GitHub gave it."""
    return str((cast.observation or {}).get("conclusion") or "unknown")


def finish(cast: Cast, failure: Failure) -> None:
    """End the cast by its run's conclusion."""
    conclusion = conclusion_of(cast)
    if conclusion == "cancelled":
        end_cancelled(cast, cast.cancel_reason or "cancelled_on_github")
    elif conclusion in SUCCESS:
        finish_success(cast)
    else:
        reason = "run_failed" if conclusion == "failure" else conclusion
        where = " in step " + repr(failure.step) if failure.step else ""
        message = f"The run failed{where}." if conclusion == "failure" else f"The run ended as {conclusion} on GitHub."
        error: dict[str, Any] = {"reason": reason, "message": message, "failed_job": failure.job or None}
        error |= {"failed_step": failure.step or None, "log_tail": list(failure.log_tail), "run_url": cast.run_url}
        charge = conclusion in RUN_FAULT and cast.spell.charge_failed_runs
        lifecycle.end(cast, CastStatus.FAILED, reason=reason, message=message, error=error, charge=charge)


def finish_success(cast: Cast) -> None:
    """End a cast whose run succeeded, unless its result can't be read or breaks the spell's promise."""
    kept = cast.artifacts.filter(name=results.ARTIFACT).first()
    result = kept if kept is not None and kept.state == Artifact.State.STORED else None
    still_coming = cast.artifacts.filter(state=Artifact.State.PENDING).exists()
    output: Any = None
    problems: results.Problems = []
    message = ""
    try:
        output, problems = results.read(result, cast.spell.output_schema)
        if problems:
            message = "The run succeeded, but its result does not keep to the spell's output schema."
        if problems and result is None and kept is not None:
            raise results.Unreadable(f"The artifact {results.ARTIFACT} could not be copied: {kept.error}")
    except results.Unreadable as exc:
        message = f"The run succeeded, but its result can't be read. {exc}"
        problems = [{"pointer": "/output", "detail": str(exc)}]
    if problems and not (result is None and still_coming):
        error = {"reason": "output_invalid", "message": message, "errors": problems}
        charge = cast.spell.charge_failed_runs
        lifecycle.end(
            cast, CastStatus.FAILED, reason="output_invalid", message=message, error=error, output=output, charge=charge
        )
        return
    message = "Done." if not still_coming else "Done; some artifacts are still being copied."
    lifecycle.end(cast, CastStatus.SUCCEEDED, reason="succeeded", message=message, output=output, charge=True)


ENDED_BY_US = {
    "expired": (CastStatus.FAILED, "It was not started in time."),
    "timed_out": (CastStatus.FAILED, "It ran longer than the spell allows and was cancelled."),
    "cancelled_by_caller": (CastStatus.CANCELLED, "Cancelled, as asked."),
    "cancelled_on_github": (CastStatus.CANCELLED, "Somebody cancelled the run on GitHub."),
}


def end_cancelled(cast: Cast, reason: str) -> None:
    """End a cast whose run was cancelled, or never came, for `reason`. A run that took too long is its own fault."""
    status, message = ENDED_BY_US[reason]
    charge = reason == "timed_out" and cast.started_at is not None and cast.spell.charge_failed_runs
    error = {"reason": reason, "message": message} if status == CastStatus.FAILED else None
    lifecycle.end(cast, status, reason=reason, message=message, error=error, charge=charge)
