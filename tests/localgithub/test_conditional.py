"""The platform's own client, looking at runs of the local GitHub again and again."""

from collections.abc import Callable
from typing import Any

import pytest

from github_integration.api import GitHub

from .conftest import REPOSITORY, Api


@pytest.fixture
def ours(server: Any, private_pem: str) -> Callable[..., GitHub]:
    """Make the platform's client of this server."""

    def make(**who: Any) -> GitHub:
        who = who or {"app_id": "Iv1.local", "pem": private_pem}
        return GitHub(api_url=server.config.base_url, version="2026-03-10", timeout=10.0, **who)

    return make


def used(api: Api) -> int:
    return api.get("/rate_limit").json()["resources"]["core"]["used"]


@pytest.mark.parametrize("who", [{}, {"personal_token": "github_pat_local"}], ids=["App", "personal token"])
def test_looks_at_a_run_that_is_over_cost_nothing_and_say_the_same(
    api: Api, ours: Callable[..., GitHub], who: dict[str, str]
):
    run_id = api.start("quick.yml", {"cast_id": "looked at"})
    api.wait(run_id)
    repository = ours(**who).repository(77, REPOSITORY)
    first = repository.run(run_id), repository.jobs(run_id)
    before = used(api)
    for _ in range(5):
        assert (repository.run(run_id), repository.jobs(run_id)) == first
    assert used(api) == before
    assert first[0].status == "completed"
    assert first[1][0].steps


def test_change_is_seen_at_once(api: Api, ours: Callable[..., GitHub]):
    run_id = api.start("slow.yml")
    repository = ours().repository(77, REPOSITORY)
    api.wait(run_id, lambda run: run["status"] == "in_progress")
    assert repository.run(run_id).status == "in_progress"
    repository.cancel(run_id, force=True)
    ended = api.wait(run_id)
    assert repository.run(run_id).conclusion == ended["conclusion"] == "cancelled"
    assert {job.conclusion for job in repository.jobs(run_id)} == {"cancelled"}
