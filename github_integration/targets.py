"""Where casts run: through whose installation, and in which repository."""

from __future__ import annotations

from casts.models import Cast
from github_integration.api import Repository, github
from github_integration.models import PERSONAL, WorkflowTarget


def installation_of(cast: Cast) -> int:
    """Return whose access token and whose rate limit this cast uses."""
    return PERSONAL if github().personal_token else (WorkflowTarget.of(cast.spell).installation_used or PERSONAL)


def repository_of(cast: Cast) -> Repository:
    return github().repository(installation_of(cast), cast.run_scope)


def run_id_of(cast: Cast) -> int:
    """Return the number that GitHub gave to the cast's run, which must be known."""
    assert cast.run_key is not None
    return int(cast.run_key)
