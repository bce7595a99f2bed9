"""What stands beside the code and no program of ours reads: CI, hooks and templates say what they must."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def read(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(file.read_text())
    return found


def test_every_action_of_ci_is_one_commit_with_its_version_beside():
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert used
    for line in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    assert len({line.partition("@")[0] for line in used}) == len(set(used))  # one version of each


def test_a_job_of_ci_may_do_only_what_it_says():
    workflow = read(WORKFLOW)
    assert workflow["permissions"] == {}
    assert set(workflow["jobs"]) == {"lint", "sqlite", "postgres", "browser", "audit", "chaos"}
    for name, job in workflow["jobs"].items():
        assert job["permissions"] == {"contents": "read"}, name
        assert job["timeout-minutes"] <= 30, name
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"] for step in checkouts] == [{"persist-credentials": False}], name


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
