"""Actions: the usual ones have stand-ins here, others come from where Config says, what can't run says why."""

import pytest

from .conftest import Api
from .test_annotations import annotations
from .test_runs import steps


def test_usual_actions_run_wherever_they_are_written(api: Api):
    run = api.wait(api.start("usual.yml"))
    jobs = {job["name"]: job for job in api.jobs(run["id"])}
    logs = {name: api.log(job["id"]) for name, job in jobs.items() if job["steps"]}
    assert run["conclusion"] == "success", logs
    assert "downloaded made by composite" in logs["take"]
    assert "all: merged, two" in logs["take"]
    assert "script saw spells and 2" in logs["script"]
    assert "##[warning]from the script" in logs["script"]
    assert 'result: {"a":[1,"é"]}' in logs["script"]
    assert "status 200 octo-org/spells" in logs["script"]
    assert "own python True" in logs["tools"]
    assert "##[warning]Python 2.4 is not on this machine" in logs["tools"]
    listed = api.get(api.repo(f"actions/runs/{run['id']}/artifacts")).json()["artifacts"]
    assert {one["name"] for one in listed} == {"made", "two", "from-hello"}
    assert "hello world" in logs["fetched"]
    assert "said=hello world" in logs["fetched"]
    assert "node says hello you" in logs["fetched"]


def test_cache_is_there_for_the_next_run(api: Api):
    said = []
    for _ in range(2):
        run = api.wait(api.start("caches.yml"))
        [job] = api.jobs(run["id"])
        said.append(api.log(job["id"]))
        assert run["conclusion"] == "success", said
        assert [name for name, _ in steps(job)][1:-1] == [
            "Run actions/cache@v4",
            "Look",
            "Run actions/cache/restore@v3",
        ]
    assert "hit: , none" in said[0]
    assert "hit: true, kept" in said[1]


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ("missing", "Unable to resolve action `nobody/nothing@v1`: it is not found on "),
        ("version", "Unable to resolve action `octo/hello@v7`: it has no such version on "),
        ("nested", "Unable to resolve action `nobody/nested@v1`: it is not found on "),
        ("empty", "Can't find 'action.yml', 'action.yaml' or 'Dockerfile' for action `octo/empty@v1`."),
        ("whale", "Action `octo/whale@v1` is a Docker action, and no Docker answers on this machine."),
        ("image", "docker://alpine:3.20 needs Docker, and no Docker answers on this machine."),
        ("container", "`container:` needs Docker, and no Docker answers on this machine."),
        ("services", "`services:` can't run here: the local GitHub starts no service containers."),
        ("other-ref", "actions/checkout of v0 can't run here: the local GitHub has the working tree as it is"),
        ("no-folder", "Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under './nowhere'. Did you forget"),
    ],
)
def test_what_can_not_run_ends_its_job_and_says_why(api: Api, unrunnable, job, why):
    found = next(one for one in api.jobs(unrunnable) if one["name"] == job)
    assert found["conclusion"] == "failure"
    assert f"##[error]{why}" in api.log(found["id"])
    assert any(one["message"].startswith(why) for one in annotations(api, found))
    assert ("Never", "success") not in steps(found)


@pytest.fixture(scope="module")
def unrunnable(server, token) -> int:
    server.world.runner.docker = False
    api = Api(server.config.base_url, token)
    run = api.wait(api.start("unrunnable.yml"))
    assert run["conclusion"] == "failure"
    return run["id"]


def test_without_internet_the_reason_is_told(server, api: Api, monkeypatch):
    monkeypatch.setattr(server.world.runner.actions, "source", "http://127.0.0.1:9")
    run = api.wait(api.start("unreachable.yml"))
    [job] = api.jobs(run["id"])
    said = api.log(job["id"])
    assert "##[error]Unable to resolve action `octo/distant@v1`: http://127.0.0.1:9 can't be reached (" in said
    assert "Without internet these run: actions/cache, actions/checkout, " in said
