"""PyGithub, a client we did not write, takes the local GitHub for the real one."""

import time
from collections.abc import Iterator

import github
import pytest
import requests
from github import Auth, Github, GithubIntegration

from .conftest import REPOSITORY


@pytest.fixture
def hub(server, private_pem) -> Iterator[Github]:
    auth = Auth.AppAuth(1, private_pem).get_installation_auth(77)
    with Github(
        base_url=server.config.base_url, auth=auth, retry=None, seconds_between_requests=0, seconds_between_writes=0
    ) as client:
        yield client


def wait(repository, run_id: int):
    end = time.monotonic() + 10
    while (run := repository.get_workflow_run(run_id)).status != "completed":
        assert time.monotonic() < end
        time.sleep(0.05)
    return run


def test_it_finds_the_installation_and_its_repositories(server, private_pem):
    with GithubIntegration(auth=Auth.AppAuth(1, private_pem), base_url=server.config.base_url) as integration:
        assert integration.get_app().slug == "local-spells"
        assert [i.id for i in integration.get_installations()] == [77]
        assert integration.get_repo_installation(*REPOSITORY.split("/")).id == 77
        assert integration.get_access_token(77, {"actions": "read"}).permissions["actions"] == "read"
        with integration.get_github_for_installation(77) as hub:
            assert hub.get_repo(REPOSITORY).default_branch == "main"


def test_it_dispatches_follows_and_downloads(hub):
    repository = hub.get_repo(REPOSITORY)
    workflow = repository.get_workflow("keep.yml")
    started = workflow.create_dispatch("main", throw=True, return_run_details=True)
    run = wait(repository, started.id)
    assert run.conclusion == "success"
    jobs = list(run.jobs())
    assert {job.name for job in jobs} == {"keep (a)", "keep (b)"}
    assert {step.conclusion for job in jobs for step in job.steps} == {"success"}
    artifacts = {artifact.name: artifact for artifact in run.get_artifacts()}
    assert artifacts["part-a"].digest.startswith("sha256:")
    assert next(iter(workflow.get_runs(event="workflow_dispatch"))).id == run.id
    assert requests.get(jobs[0].logs_url(), timeout=5).ok


def test_it_cancels(hub):
    repository = hub.get_repo(REPOSITORY)
    run_id = repository.get_workflow("slow.yml").create_dispatch("main", throw=True, return_run_details=True).id
    run = repository.get_workflow_run(run_id)
    assert run.cancel()
    assert wait(repository, run_id).conclusion == "cancelled"


def test_it_hears_why_a_dispatch_is_refused(hub):
    workflow = hub.get_repo(REPOSITORY).get_workflow("quick.yml")
    with pytest.raises(github.GithubException) as refused:
        workflow.create_dispatch("main", {"foo": "x"}, throw=True)
    assert refused.value.status == 422
    assert refused.value.data["message"] == 'Unexpected inputs provided: ["foo"]'


def test_it_starts_runs_by_repository_dispatch(hub):
    repository = hub.get_repo(REPOSITORY)
    assert repository.create_repository_dispatch("poke", {"cast_id": "py"})
    titles = [run.display_title for run in repository.get_workflow_runs(event="repository_dispatch")]
    assert "none [cast:py]" in titles
