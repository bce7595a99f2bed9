"""What can go wrong with GitHub. A class says what can be done about it; str() carries GitHub's own message."""

from __future__ import annotations

import datetime as dt

from core.redaction import redact

CLOCK_SLACK = dt.timedelta(seconds=30)  # the proof of who we are lives for minutes only


class GitHubError(Exception):
    """GitHub said no, or nothing."""

    date: dt.datetime | None = None  # GitHub's clock when it answered, to compare ours with

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(redact(message))  # it goes into rows, logs and messages
        self.status = status

    def clock(self, now: dt.datetime) -> str:
        """Say how our clock differs from GitHub's, if by so much that it may be the reason; else blank."""
        ahead = dt.timedelta(0) if self.date is None else now - self.date
        if abs(ahead) <= CLOCK_SLACK:
            return ""
        way = "ahead of" if ahead > dt.timedelta(0) else "behind"
        return f"This machine's clock is {abs(ahead).total_seconds():.0f} seconds {way} GitHub's"


class NotConfigured(GitHubError):
    """We have no credentials, or ones that can't be read; the message says which setting to correct."""


class Unavailable(GitHubError):
    """GitHub answered 5xx, or not within the timeout. The request may have had its effect."""


class NotSent(GitHubError):
    """The request certainly never reached GitHub: no route, no name, refused, or no TLS."""


class RateLimited(GitHubError):
    """403 or 429 because of a rate limit: refused before it had any effect.

    `retry_at` is when to come back, None if GitHub didn't say.
    """

    def __init__(self, message: str, *, status: int, retry_at: dt.datetime | None) -> None:
        super().__init__(message, status=status)
        self.retry_at = retry_at


class AuthFailed(GitHubError):
    """401: the App's key, its id, or the token is wrong."""


class PermissionMissing(GitHubError):
    """403: the App lacks a permission, or may not see this."""


class Suspended(GitHubError):
    """403: the installation is suspended; its owner can end that."""


class InstallationGone(GitHubError):
    """404 for the installation itself: the App was uninstalled, or the id was never right."""


class NotFound(GitHubError):
    """404: not there, or not visible to the App."""


class Gone(GitHubError):
    """410: it was there once."""


class Conflict(GitHubError):
    """409: not in the state that this needs."""


class Refused(GitHubError):
    """400, 422 and other 4xx: GitHub understood and refuses."""


def lacks_permission(exc: GitHubError) -> bool:
    """Whether the App may not do this at all; GitHub says so of a call, or when the token for it is asked for."""
    return isinstance(exc, PermissionMissing) or "permissions requested" in str(exc).lower()
