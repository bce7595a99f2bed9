"""What GitHub's answers mean for a cast: refused, not now, or nobody knows; and for everybody else who asks."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.conf import settings
from django.utils import timezone

from casts.models import Cast
from casts.runtime import AccessLost, DispatchRefused, NotNow, OutcomeUnknown
from github_integration import errors, quota
from github_integration.api import github
from github_integration.models import PERSONAL, Installation, WorkflowTarget
from github_integration.targets import installation_of

logger = logging.getLogger(__name__)
T = TypeVar("T")

ASK_AGAIN = dt.timedelta(seconds=30)
# Every 4xx that is no rate limit and none of ours to fix: GitHub answered before anything ran.
REFUSALS = (errors.PermissionMissing, errors.Conflict, errors.Gone, errors.Refused)
# Whatever was asked, it was not done: not even a dispatch, of which nobody else could say so.
PROVEN_UNDONE = (
    errors.RateLimited,
    errors.NotSent,
    errors.Suspended,
    errors.InstallationGone,
    errors.NotConfigured,
    errors.AuthFailed,
)
WAITING = {
    Installation.Pause.RATE_LIMITED: "GitHub's rate limit is reached; waiting for it to end.",
    Installation.Pause.SUSPENDED: "The GitHub App's installation is suspended; its owner must end that on GitHub.",
    Installation.Pause.REMOVED: "GitHub doesn't know the App's installation; making sure.",
    Installation.Pause.UNAVAILABLE: "GitHub does not answer at the moment; trying again soon.",
}


def dispatch_outcome(cast: Cast, call: Callable[[], T]) -> T:
    """Make a dispatch call and say what its failure means: refused, nothing happened, or nobody knows."""
    try:
        with translate_errors(cast, unknown=True):
            return call()
    except errors.NotFound as exc:
        file = (
            f", and does it hold {WorkflowTarget.of(cast.spell).workflow_used}"
            if cast.spell.runtime == "workflow_dispatch"
            else ""
        )
        installation = installation_of(cast)
        whose = (
            "GITHUB_TOKEN allowed" if installation == PERSONAL else f"the App (installation {installation}) installed"
        )
        raise DispatchRefused(
            f"{exc}. GitHub says so of what is not there and of what we may not see: is {cast.run_scope} the right "
            f"name, is {whose} on it{file}?"
        ) from exc
    except REFUSALS as exc:
        raise DispatchRefused(str(exc)) from exc
    except errors.GitHubError as exc:
        raise OutcomeUnknown(str(exc)) from exc


def require_not_paused(installation: int) -> Installation:
    """Return what is known of the installation; raise NotNow if GitHub must not be asked for it now."""
    known = quota.known(installation)
    if quota.is_paused(known):
        # Without what GitHub said: that was to another cast, perhaps of another account.
        raise waiting_for(Installation.Pause(known.pause_reason), "", retry_at=known.paused_until)
    return known


@contextmanager
def translate_errors(cast: Cast, *, unknown: bool = False) -> Iterator[None]:
    """Turn GitHub's trouble into NotNow; with `unknown`, leave alone what is no proof that nothing happened."""
    with asking(installation_of(cast), about={"cast_id": str(cast.pk)}, unknown=unknown):
        yield


@contextmanager
def asking(installation: int, *, about: dict[str, str], unknown: bool = False) -> Iterator[None]:
    """Do as `translate_errors` does, for whatever is asked through an installation; `about` is for the log.

    What it means for the installation is noted, for all who share it.
    """
    known = require_not_paused(installation)
    try:
        yield
    except errors.GitHubError as exc:
        if isinstance(exc, errors.NotSent):
            logger.warning("GitHub can't be reached", extra=about | {"why": str(exc)})
        if isinstance(exc, errors.NotSent | errors.Unavailable):
            quota.unanswered(installation, message=str(exc))
        if unknown and not isinstance(exc, PROVEN_UNDONE):
            raise
        raise not_now(known, exc) from exc
    else:
        quota.answered(known, github().latest_rate_limit(installation))


def not_now(before: Installation, exc: errors.GitHubError) -> NotNow:
    """Say what GitHub's trouble means for who asked, and pause the installation if it is about that.

    `before`: what was known of the installation before GitHub was asked.
    """
    match exc:
        case errors.RateLimited():
            until = quota.rate_limited(before.pk, until=exc.retry_at, message=str(exc))
            return waiting_for(Installation.Pause.RATE_LIMITED, str(exc), retry_at=until)
        case errors.Suspended():
            until = quota.suspended(before, message=str(exc))
            return waiting_for(Installation.Pause.SUSPENDED, str(exc), retry_at=until)
        case errors.InstallationGone():
            # An operator may have mistyped the id just now.
            lost_at = quota.removed(before.pk) + dt.timedelta(seconds=settings.CAST_LOST_SECONDS)
            if timezone.now() >= lost_at:
                return AccessLost(str(exc), reason=Installation.Pause.REMOVED)
            again = min(lost_at, timezone.now() + ASK_AGAIN)
            return waiting_for(Installation.Pause.REMOVED, str(exc), retry_at=again)
        case errors.NotSent():
            later = timezone.now() + dt.timedelta(seconds=settings.GITHUB_TIMEOUT)
            return NotNow("GitHub can't be reached at the moment; trying again.", retry_at=later)
        case errors.NotConfigured() | errors.AuthFailed():  # ours to fix, not the caller's fault
            said = str(exc) if isinstance(exc, errors.NotConfigured) else f"GitHub doesn't take our credentials: {exc}"
            said += f". {clock}." if (clock := exc.clock(timezone.now())) else ""
            return NotNow(said, retry_at=timezone.now() + ASK_AGAIN, reason="github_not_configured")
    return NotNow(f"GitHub: {exc}", reason="waiting_for_github")


def waiting_for(reason: Installation.Pause, why: str, *, retry_at: dt.datetime | None) -> NotNow:
    told = f" ({why})" if why else ""
    return NotNow(WAITING[reason] + told, retry_at=retry_at, reason=reason)
