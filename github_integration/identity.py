"""Who starts our runs on GitHub: the App's bot, or the user of the personal token."""

from __future__ import annotations

import logging
import time

from github_integration import errors, quota
from github_integration.api import github
from github_integration.models import Installation

logger = logging.getLogger(__name__)

ASK_AGAIN = 3600.0  # seconds; an App can be renamed
AFTER_TROUBLE = 15.0  # seconds
_ask_at: dict[tuple[str, int], float] = {}  # by API address and installation, when to ask: time.monotonic()


def learn(installation: int) -> None:
    """Keep the name that GitHub gives to who starts this installation's runs, asked for once an hour in each process.

    Without an answer the name stays as it was.
    """
    key, now = (github().api_url, installation), time.monotonic()
    if now < _ask_at.get(key, now):
        return
    _ask_at[key] = now + AFTER_TROUBLE
    try:
        login = github().login()
    except errors.GitHubError as exc:
        logger.warning("GitHub does not tell who we are", extra={"installation": installation, "why": str(exc)})
        return
    _ask_at[key] = now + ASK_AGAIN
    if not login:
        return
    quota.known(installation)
    Installation.objects.filter(pk=installation).exclude(actor_login=login).update(actor_login=login)


def is_us(installation: int, login: str) -> bool:
    """Whether a run with this actor may be ours: one whose actor isn't told may be, as on an old server.

    While we don't know our own name, an App takes none: it can ask. A personal token may not be allowed to.
    """
    if not login:
        return True
    ours = name_of(installation)
    return ours.lower() == login.lower() if ours else bool(github().personal_token)


def name_of(installation: int) -> str:
    """Return the name under which this installation's runs are started, blank if it is not known."""
    known = Installation.objects.filter(pk=installation).values_list("actor_login", flat=True).first()
    return known or ""
