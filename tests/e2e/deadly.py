"""Settings of a worker that some casts kill."""

from spellplatform.settings import *  # noqa: F403

SPELL_RUNTIMES = {
    "workflow_dispatch": "tests.e2e.deadly_runtime.Deadly",
    "repository_dispatch": "github_integration.runtime.RepositoryDispatch",
}
