"""What can go wrong with GitHub. A class says what can be done about it; str() carries GitHub's own message."""

from __future__ import annotations

import datetime as dt


class GitHubError(Exception):
    """GitHub said no, or nothing."""

    date: dt.datetime | None = None  # GitHub's clock when it answered, to compare ours with

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotConfigured(GitHubError):
    """We have no credentials, or ones that can't be read; the message says which setting to mend."""


class Unavailable(GitHubError):
    """GitHub answered 5xx, or not within the timeout. The request may have had its effect."""


class NotSent(GitHubError):
    """The request certainly never reached GitHub: no route, no name, refused, or no TLS."""


class RateLimited(GitHubError):
    """403 or 429 because of a rate limit: refused before it had any effect. `retry_at` is when to come back."""

    def __init__(self, message: str, *, status: int, retry_at: dt.datetime) -> None:
        super().__init__(message, status=status)
        self.retry_at = retry_at


class AuthFailed(GitHubError):
    """401: the App's key, its id, or the token is wrong."""


class PermissionMissing(GitHubError):
    """403: the App lacks a permission, or may not see this."""


class Suspended(GitHubError):
    """403: the installation is suspended; its owner can end that."""


class NotFound(GitHubError):
    """404: not there, or not visible to the App."""


class Gone(GitHubError):
    """410: it was there once."""


class Conflict(GitHubError):
    """409: not in the state that this needs."""


class Refused(GitHubError):
    """400, 422 and other 4xx: GitHub understood and refuses."""
