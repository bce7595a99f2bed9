"""Who starts our runs on GitHub: the App's bot, or the user of the personal token."""

from __future__ import annotations

import logging
import time

from github_integration import errors, quota
from github_integration.client import github
from github_integration.models import Installation

logger = logging.getLogger(__name__)

ASK_AGAIN = 3600.0  # seconds; an App can be renamed
_asked_at: dict[tuple[str, int], float] = {}  # by API address and installation: time.monotonic()


def learn(installation: int) -> None:
    """Keep the name that GitHub gives to who starts this installation's runs, asked for once an hour in each process.

    Without an answer the name stays as it was: runs are then told apart by everything else.
    """
    key = (github().api_url, installation)
    if (asked_at := _asked_at.get(key)) is not None and time.monotonic() - asked_at < ASK_AGAIN:
        return
    _asked_at[key] = time.monotonic()
    try:
        login = github().login()
    except errors.GitHubError as exc:
        logger.warning("GitHub does not tell who we are", extra={"installation": installation, "why": str(exc)})
        return
    if not login:
        return
    quota.known(installation)
    Installation.objects.filter(pk=installation).exclude(actor_login=login).update(actor_login=login)


def is_us(installation: int, login: str) -> bool:
    """Whether a run with this actor may be ours. Where GitHub does not tell, or we don't know our name, it may."""
    if not login:
        return True
    ours = Installation.objects.filter(pk=installation).values_list("actor_login", flat=True).first()
    return not ours or ours.lower() == login.lower()
