"""What comes after the App: its installation, and the repositories it opens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from github_integration import errors
from github_integration.api import GitHub
from github_integration.connecting.exchange import GITHUB_COM
from github_integration.connecting.places import APP_ID, KEY
from github_integration.details import InstallationDetails

EVERY = 2.0  # seconds between two looks at the App's installations
# Passing: GitHub's servers may not all know a new App yet.
PASSING = (errors.Unavailable, errors.NotSent, errors.RateLimited, errors.AuthFailed, errors.NotFound)


def github_with(values: Mapping[str, str]) -> GitHub:
    """Return a GitHub as these settings say, which may be newer than the ones that this process has read."""
    return GitHub(
        api_url=values.get("GITHUB_API_URL") or GITHUB_COM,
        version=values.get("GITHUB_API_VERSION", ""),
        timeout=10.0,
        app_id=values[APP_ID],
        pem=values.get(KEY, ""),
    )


def installations(
    github: GitHub, *, seconds: float, tell: Callable[[str], None], nap: Callable[[float], object] = time.sleep
) -> list[InstallationDetails]:
    """Return the App's installations as soon as there are some, none after so many seconds.

    Raise GitHubError if GitHub does not know the App at the end either.
    """
    end, told = time.monotonic() + seconds, ""
    while True:
        failed: errors.GitHubError | None = None
        try:
            if found := github.app.installations():
                return found
        except PASSING as exc:
            failed = exc
            if str(exc) != told:
                tell(told := str(exc))
        if time.monotonic() >= end:
            if failed is not None:
                raise failed
            return []
        nap(EVERY)
