"""Ten ordinary workflows, imported and cast as they are: what is given arrives, what can not be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.platform import DATA, REPOSITORY, Platform

pytestmark = pytest.mark.once  # what is read from GitHub and sent there

WORKFLOWS = sorted((DATA / "workflows").iterdir())
SWITCHES: dict[str, Any] = {f"switch_{number:02}": "" for number in range(1, 10)}
SWITCHES |= {f"switch_{number:02}": number % 2 == 1 for number in range(10, 18)}
SWITCHES |= {f"switch_{number:02}": f"{number / 4:g}" for number in range(18, 23)}
SWITCHES |= {f"switch_{number:02}": "low" for number in range(23, 26)}
# Of each spell: an input, and what arrives in `inputs` (booleans as such, all else as text, as on GitHub).
GOOD: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    (
        "release",
        {"version": "1.4.0", "dry_run": False, "notes": "* ü\n$(id) ${{ github.token }}"},
        {"version": "1.4.0", "dry_run": False, "notes": "* ü\n$(id) ${{ github.token }}"},
    ),
    (
        "deploy",
        {"environment": "staging", "image": "v1", "strategy": "all at once", "wait_minutes": 2.50},
        {"environment": "staging", "image": "v1", "strategy": "all at once", "wait_minutes": "2.5"},
    ),
    ("matrix-build", {}, {}),
    ("backport", {"pull_request": 12.0}, {"pull_request": "12", "branches": "stable", "draft": False}),
    (
        "data-job",
        {"workers": 10, "full_refresh": True},
        {
            "day": "2026-01-31",
            "sample": "0.25",
            "workers": "10",
            "full_refresh": True,
            "query": '{"region": "eu"}',
        },
    ),
    ("docs-publish", {}, None),  # it leaves a site, and no result
    ("call-checks", {"suite": "browser", "verbose": True}, {"suite": "browser", "verbose": True}),
    ("nightly", {"suite": "8"}, {"suite": "8", "attempts": "10"}),
    ("packages", {"publish": False}, {"package": "", "publish": False}),
    (
        "image",
        {"switch_01": "x", "switch_10": True, "switch_22": 1e3, "switch_25": "high"},
        SWITCHES | {"switch_01": "x", "switch_10": True, "switch_22": "1000", "switch_25": "high"},
    ),
]
# And inputs that are refused before anything starts, each with the place of the mistake.
BAD: list[tuple[str, Any, str]] = [
    ("release", {}, "/input"),
    ("release", {"version": 1.4}, "/input/version"),
    ("deploy", {"environment": "moon", "image": "v1"}, "/input/environment"),
    ("deploy", {"environment": "staging", "image": "v1", "strategy": "Rolling"}, "/input/strategy"),
    ("matrix-build", {"system": "linux"}, "/input"),
    ("backport", {"pull_request": "12"}, "/input/pull_request"),
    ("data-job", {"full_refresh": "true"}, "/input/full_refresh"),
    ("docs-publish", [], "/input"),
    ("call-checks", {"suite": "unit", "verbose": 1}, "/input/verbose"),
    ("nightly", {"suite": 8}, "/input/suite"),
    ("nightly", {"cast_id": "mine"}, "/input"),
    ("packages", {}, "/input"),
    ("image", {"switch_01": "x", "switch_26": ""}, "/input"),
]


def test_ten_ordinary_workflows_are_imported_and_cast_as_they_are(here: Platform, tmp_path: Path) -> None:
    here.publish(*WORKFLOWS)
    names = [option for file in WORKFLOWS for option in ("--workflow", file.name)]
    told = here.manage("importspells", REPOSITORY, *names, "--write", str(tmp_path / "spells.toml"))
    assert "checks.yml         -             left out  it has no `on: workflow_dispatch`" in told
    assert "created: backport, call-checks, data-job, deploy, docs-publish" in told
    assert "unchanged: backport" in here.manage("importspells", REPOSITORY, *names)
    here.manage("loadspells", str(tmp_path / "spells.toml"))

    for spell, given, pointer in BAD:
        answer = here.call("POST", "/api/v1/cast", json={"spell_key": spell, "input": given})
        assert answer.status_code == 422, (spell, given, answer.text)
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], answer.text

    cast = [here.cast(spell, given)["cast_id"] for spell, given, _ in GOOD]
    broken = here.cast("release", {"version": "soon"})["cast_id"]
    for cast_id, (spell, _, arrives) in zip(cast, GOOD, strict=True):
        ended = here.ended(cast_id, seconds=60)
        assert ended["status"] == "succeeded", (spell, ended)
        expected = arrives if spell != "nightly" or arrives is None else arrives | {"cast_id": cast_id}
        assert ended["output"] == expected, spell
    ended = here.ended(broken)
    assert (ended["status_reason"], ended["error"]["message"]) == ("run_failed", "soon is not like 1.4.0")
