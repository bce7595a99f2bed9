"""Actions: the usual ones have stand-ins here, others come from where Config says, what can't run says why."""

import os
import subprocess
from pathlib import Path

import pytest

from localgithub.actions import Actions
from localgithub.repositories import Repository
from localgithub.workflow import load

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
    assert {one["name"] for one in listed} == {"made", "two", "from-hello", "of-someone", "of-you"}
    assert "outputs hello someone of the tag, hello you of the tree" in logs["served"]
    assert logs["served"].count(" LOUD\n") == 1
    assert "hello world" in logs["fetched"]
    assert "said=hello world" in logs["fetched"]
    assert "node says hello you" in logs["fetched"]


def said_by(api: Api, workflow: str) -> str:
    """Run a workflow of one job, which must succeed; return the job's log."""
    run = api.wait(api.start(workflow))
    [job] = api.jobs(run["id"])
    said: str = api.log(job["id"])
    assert run["conclusion"] == "success", said
    return said


def test_a_sparse_checkout_has_its_folders_and_the_files_on_the_way_there(api: Api):
    said = said_by(api, "sparse.yml")
    assert "./own/action/action.yml" in said
    assert "./README.md" in said
    assert "./own/served" not in said
    assert "hand-back.yml" not in said


@pytest.mark.parametrize(
    ("steps", "folders"),
    [
        ("[{uses: actions/checkout@v4, with: {sparse-checkout: 'a/b\n/c/', fetch-depth: 1}}]", ["a/b", "c"]),
        ("[{uses: actions/checkout@v4, with: {sparse-checkout: a}}, {uses: Actions/checkout@v4}]", None),
        ("[{uses: actions/checkout@v4, with: {sparse-checkout: 'a/*'}}]", None),
        ("[{uses: actions/checkout@v4, with: {sparse-checkout: a, sparse-checkout-cone-mode: false}}]", None),
        ("[{uses: actions/checkout@v4, with: {sparse-checkout: '${{ inputs.of }}'}}]", None),
        ("[{uses: actions/checkout@v4, with: {sparse-checkout: .}}]", None),
        ("[{uses: actions/checkout@v4}]", None),
        ("[{uses: ./own/action}]", None),
    ],
)
def test_of_checkouts_that_are_not_plain_folders_the_tree_is_whole(steps, folders):
    text = f"on: workflow_dispatch\njobs: {{one: {{runs-on: ubuntu-latest, steps: {steps}}}}}\n"
    assert load("octo/x", ".github/workflows/x.yml", text).folders == folders


@pytest.mark.parametrize("git", [True, False])
def test_a_copy_of_some_folders_leaves_out_the_others(tmp_path: Path, git):
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    for name in ("top", "a/beside", "a/b/in", "a/b/c/below", "a/bc/not", "d/not"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    if git:
        subprocess.run(["git", "-C", str(tree), "init", "-q"], check=True)
    Repository("octo/x", tree).copy_tree(copy, ["a/b"])
    found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert found == {"top", "a/beside", "a/b/in", "a/b/c/below"}


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """Make programs as pyenv and its like put on the PATH for versions that the folder at hand does not name."""
    program(tmp_path / "shims", "node", "echo 'nodenv: node: command not found' >&2; exit 127")
    return program(tmp_path / "shims", "python3.99", "echo 'pyenv: python3.99: command not found' >&2; exit 127")


def test_python_that_does_not_run_or_is_another_is_none(api: Api, shim, tmp_path, monkeypatch):
    other = program(tmp_path / "other", "python3.99", "echo 3.98.1")
    bare = program(tmp_path / "bare", "python3.99", "[ $# -eq 5 ] || exit 1; echo 3.99.1")  # makes no environment
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, [shim, other, bare, os.environ["PATH"]])))
    said = said_by(api, "python.yml")
    assert "##[warning]Python 3.99 is not on this machine: this is 3." in said
    assert "it runs" in said


def test_node_that_does_not_run_is_none(shim, tmp_path):
    def found(*folders: Path) -> str | None:
        work = tmp_path / str(len(folders))
        work.mkdir()
        actions = Actions(work, tmp_path / "kept", "")
        actions.start({"PATH": os.pathsep.join(map(str, [*folders, "/nowhere"]))})
        return actions.node

    real = program(tmp_path / "real", "node", "echo v22.0.0")
    assert found(shim) is None
    assert found(shim, real) == str(real / "node")


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
        (
            "no-version",
            "Unable to resolve action `octo-org/spells/own/served@v9`: octo-org/spells, which is served here",
        ),
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
