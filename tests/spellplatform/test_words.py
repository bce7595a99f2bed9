"""English that any engineer reads without stumbling: words that were given up stay so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What others wrote, and what was: migrations and their tests name columns as they were.
HISTORY = (
    "CHANGELOG.md",
    "tests/data/",
    "tests/spellplatform/test_words.py",
    "tests/upgrade/history/",
)
TEXT = (".py", ".md", ".html", ".js", ".css", ".toml", ".yml")
# What is said instead. Names in code are words, too: take_in is found as well as "take in" is.
RETIRED = {
    r"mend(s|ed|ing)?": "fix",
    r"doors?": "endpoint, or client",
    r"knock(s|ed|ing)?": "call",
    r"not to be had": "never returned",
    r"(?<!ath\.)floors?": "layer",
    r"take_in|absorb": "receive_delivery, observe_run",
    r"cast_behind|give_run|owe": "find_cast, bind_run, enqueue",
    r"list_left|bring_in|leave_to_copier": "register_artifacts, copy_pending, schedule_rest",
    r"carries_token|SpellTurn": "tags_runs, SlotOrder",
}


def sources() -> list[str]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    return [
        name
        for name in listed.stdout.split("\n")
        if name.endswith(TEXT) and not name.startswith(HISTORY) and "/migrations/" not in name
    ]


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_not_used(word):
    """Say the one on the right instead; see RETIRED."""
    pattern = re.compile(rf"(?<![A-Za-z]){word}(?![A-Za-z])", re.IGNORECASE)
    found = []
    for name in sources():
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        found += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    assert not found, f"say {RETIRED[word]}"
