"""What the pages on security name as evidence is there, and no requirement of the ASVS is left out."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.pages import DOCS, ROOT, name_of

SECURITY = DOCS / "explanation" / "security.md"
ASVS = DOCS / "explanation" / "security-asvs.md"
IDS = ROOT / "tests" / "data" / "asvs" / "5.0.0-levels-1-and-2.txt"
ROW = re.compile(r"^\| (V[\d.]+) \| (\d) \| (.+?) \| (.+?) \| (.+) \| (.+) \|$", re.MULTILINE)
STATES = {"met", "partly", "**not met**", "does not apply"}


@cache
def names_of_tests(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE))


def evidence(text: str) -> list[str]:
    """Return the files, and tests as file::name, that a text sets as code."""
    return re.findall(r"`([\w./-]+/[\w.-]+(?:::\w+)?)`", text)


def missing(found: list[str]) -> list[str]:
    """Return those that are not there."""
    lost = []
    for one in found:
        path, _, test = one.partition("::")
        file = ROOT / path
        if not file.is_file() or (test and test not in names_of_tests(file)):
            lost.append(one)
    return lost


def rows() -> list[tuple[str, ...]]:
    return [found.groups() for found in ROW.finditer(ASVS.read_text())]


@pytest.mark.parametrize("page", [SECURITY, ASVS], ids=name_of)
def test_every_file_and_test_that_is_named_as_evidence_exists(page: Path):
    found = evidence(page.read_text())
    assert len(found) > 80
    assert missing(found) == []


def test_what_is_not_there_is_noticed():
    assert missing(["core/limits.py", "core/nothing.py"]) == ["core/nothing.py"]
    lost = "tests/spellplatform/test_docs_security.py::test_of_nothing"
    assert missing([lost]) == [lost]
    assert evidence("`a/b.py`, `tests/c.py::test_d` and `SETTING`") == ["a/b.py", "tests/c.py::test_d"]


def test_every_threat_names_a_test():
    threats = re.search(r"^## Threats\n(.*?)^## ", SECURITY.read_text(), re.MULTILINE | re.DOTALL)
    assert threats is not None
    lines = [line for line in threats[1].splitlines() if line.startswith("| ") and not line.startswith("| threat ")]
    assert len(lines) > 30
    assert [line for line in lines if "::test_" not in line.split(" | ")[-1]] == []


def test_every_requirement_of_level_1_and_2_is_there_once_in_order():
    known = [tuple(line.split()) for line in IDS.read_text().splitlines()]
    assert len(known) == 253
    assert [row[:2] for row in rows()] == known


def test_each_is_met_with_evidence_or_says_why_not():
    for id, _, asked, state, why, proof in rows():
        assert state in STATES, id
        assert asked.strip(), id
        assert why.strip(), id
        assert evidence(proof) or state in ("**not met**", "does not apply"), id


def test_what_is_not_met_is_told_first_and_counted():
    text = ASVS.read_text()
    first = text.partition("## Not met")[2].partition("\n## ")[0]
    assert re.findall(r"^- (V[\d.]+),", first, re.MULTILINE) == [row[0] for row in rows() if row[3] == "**not met**"]
    states = [row[3] for row in rows()]
    counts = [states.count(state) for state in ("met", "partly", "**not met**", "does not apply")]
    said = re.search(r"Of 253 requirements (\d+) are met, (\d+) partly, (\d+) not met, and (\d+) do not apply", text)
    assert said is not None
    assert [int(number) for number in said.groups()] == counts
