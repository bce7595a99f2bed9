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
PATIENCE = 15.0  # seconds until all of GitHub's servers know a new App, and its key
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

    Raise GitHubError if GitHub can't be asked, or does not know the App, for longer than that and than PATIENCE.
    """
    begun, told = time.monotonic(), ""
    while True:
        waited = time.monotonic() - begun
        try:
            found = github.app.installations()
            if found or waited >= seconds:
                return found
        except PASSING as exc:
            if waited >= max(seconds, PATIENCE):
                raise
            if str(exc) != told:
                tell(told := str(exc))
        nap(EVERY)
