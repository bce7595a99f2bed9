"""What stands beside the code and no program of ours reads: CI, hooks and templates say what they must."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import licences, thorough
from tests.pages import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
RELEASE = WORKFLOW.with_name("release.yml")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def read(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(file.read_text())
    return found


def test_every_action_of_ci_and_releases_is_one_commit_with_its_version_beside():
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text() + RELEASE.read_text())
    assert used
    for line in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    assert len({line.partition("@")[0] for line in used}) == len(set(used))  # one version of each


def test_a_job_of_ci_may_do_only_what_it_says():
    workflow = read(WORKFLOW)
    assert workflow["permissions"] == {}
    assert set(workflow["jobs"]) == {"lint", "sqlite", "postgres", "browser", "deploy", "audit", "chaos"}
    for name, job in workflow["jobs"].items():
        assert job["permissions"] == {"contents": "read"}, name
        assert job["timeout-minutes"] <= 30, name
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        history = {"fetch-depth": 0} if name == "postgres" else {}  # with the release before, for the update's drill
        assert [step["with"] for step in checkouts] == [{"persist-credentials": False} | history], name


def test_a_job_of_a_release_may_do_only_what_it_is_for():
    workflow = read(RELEASE)
    assert workflow["permissions"] == {}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items()} == {
        "signed": {"contents": "read"},
        "dependencies": {"contents": "read"},
        "build": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
        "publish": {"contents": "write"},
    }
    assert [job.get("needs") for job in workflow["jobs"].values()] == [*(None, "signed", "dependencies", "build")]
    # Nothing that others wrote, and that no digest names, runs where tokens are.
    for name in ("build", "publish"):
        assert not re.search(
            r"\b(pipx?|npm|python)\b", "".join(step.get("run", "") for step in workflow["jobs"][name]["steps"])
        )
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")  # by env: a tag's name may hold anything
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
    # What is built and listed is there.
    scripts = "".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    for file in ("deploy/Dockerfile", "requirements/production.txt", "pyproject.toml", ".github/release-signers"):
        assert file in scripts
        assert (ROOT / file).exists(), file


@pytest.mark.processes
def test_only_a_tag_that_is_signed_by_a_maintainer_and_lies_on_main_is_released(tmp_path):
    [script] = [step["run"] for step in read(RELEASE)["jobs"]["signed"]["steps"] if step.get("name") == "Verify"]
    there, here = tmp_path / "there", tmp_path / "here"

    def run(*command: str, cwd: Path = there) -> int:
        environment = {
            **{"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RUNNER_TEMP": str(tmp_path), "TAG": command[-1]},
            **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True).returncode

    def git(*words: str) -> None:
        assert run("git", "-c", "gpg.format=ssh", *words) == 0, words

    for who in ("maintainer", "stranger"):
        assert run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / who), cwd=tmp_path) == 0
    assert run("git", "init", "-q", "-b", "main", str(there), cwd=tmp_path) == 0
    (there / ".github").mkdir()
    public = (tmp_path / "maintainer.pub").read_text()
    (there / ".github" / "release-signers").write_text(f'# who\nm@example.org namespaces="git" {public}')
    (there / "spellplatform").mkdir()
    (there / "spellplatform" / "__init__.py").write_text('"""x"""\n__version__ = "1.2.3"\n')
    git("add", ".")
    git("commit", "-q", "-m", "x")
    signed = ("-c", f"user.signingkey={tmp_path / 'maintainer'}", "tag", "-s", "-m", "x")
    git(*signed, "v1.2.3")
    git(*signed, "v1.2.4")  # not the number that the code names
    git("-c", f"user.signingkey={tmp_path / 'stranger'}", "tag", "-s", "-m", "x", "v1.2.3.stranger")
    git("tag", "-a", "-m", "x", "v1.2.3.unsigned")
    git("tag", "v1.2.3.plain")
    # A branch on which a stranger has named themselves.
    git("checkout", "-q", "-b", "aside")
    (there / ".github" / "release-signers").write_text(f"s@example.org {(tmp_path / 'stranger.pub').read_text()}")
    git("commit", "-q", "-a", "-m", "x")
    git("-c", f"user.signingkey={tmp_path / 'stranger'}", "tag", "-s", "-m", "x", "v1.2.3.aside")
    assert run("git", "clone", "-q", str(there), str(here), cwd=tmp_path) == 0
    verdicts = {
        tag: run("git", "checkout", "-q", tag, cwd=here) or run("bash", "-eo", "pipefail", "-c", script, tag, cwd=here)
        for tag in ("v1.2.3", "v1.2.4", "v1.2.3.stranger", "v1.2.3.unsigned", "v1.2.3.plain", "v1.2.3.aside")
    }
    assert [tag for tag, code in verdicts.items() if code == 0] == ["v1.2.3"], verdicts
    # What was pushed, and would be built, is another commit than what the tag names by now.
    assert run("git", "checkout", "-q", "v1.2.3.aside", cwd=here) == 0
    assert run("bash", "-eo", "pipefail", "-c", script, "v1.2.3", cwd=here) != 0


def test_the_page_of_licences_is_complete_and_nothing_asks_for_more_than_was_agreed():
    assert licences.PAGE.read_text() == licences.written(), "make licences"
    for package in licences.locked("production.txt") | licences.locked("complete.txt"):
        assert licences.refused(package, licences.licence_of(package)) == "", package
    for package, licence in (("x", "GPL-3.0-only"), ("x", "MIT AND AGPL-3.0-only"), ("x", "LGPL-3.0-only"), ("x", "")):
        assert licences.refused(package, licence), licence
    assert licences.refused("x", "GPL-2.0-only OR MIT") == ""


def test_what_takes_long_is_there():
    for name in sorted(thorough.known()):
        file, _, function = name.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(), f"{name} is in {thorough.FILE.name}: rename it there"


def test_the_hooks_of_a_commit_are_what_make_lint_runs():
    [repository] = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    linted = re.findall(r"\$\(BIN\)/([\w-]+(?: check| format)?)", recipe[1])
    hooks = [hook["entry"] for hook in repository["hooks"]]
    assert [re.sub(r"^\.venv/bin/([\w-]+(?: check| format)?).*", r"\1", entry) for entry in hooks] == linted


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_form_for_issues_is_one_that_github_shows(form: Path):
    asked = read(form)
    assert {"name", "description", "body"} <= asked.keys()
    fields = [field for field in asked["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 2
    for field in asked["body"]:
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"].get("value" if field["type"] == "markdown" else "label"), field
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_dependabot_reads_what_there_is():
    updates = read(ROOT / ".github" / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"]: update["directory"] for update in updates} == {
        "pip": "/",
        "github-actions": "/",
    }
    assert all(file.stat().st_size < 200_000 for file in (ROOT / "requirements").iterdir())  # it leaves out larger ones
