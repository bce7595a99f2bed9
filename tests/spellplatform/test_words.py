"""English that any engineer reads without stumbling: words that were given up stay so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HISTORY = ("CHANGELOG.md", "tests/data/", "tests/spellplatform/test_words.py")  # what others wrote, and what was
TEXT = (".py", ".md", ".html", ".js", ".css", ".toml", ".yml")
# What is said instead. Names in code are words, too: take_in is found as well as "take in" is.
RETIRED = {
    r"mend(s|ed|ing)?": "fix",
    r"doors?": "endpoint, or client",
    r"knock(s|ed|ing)?": "call",
    r"not to be had": "never returned",
}


def sources() -> list[str]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\n") if name.endswith(TEXT) and not name.startswith(HISTORY)]


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_not_used(word):
    """Say the one on the right instead; see RETIRED."""
    pattern = re.compile(rf"(?<![A-Za-z]){word}(?![A-Za-z])", re.IGNORECASE)
    found = []
    for name in sources():
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        found += [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    assert not found, f"say {RETIRED[word]}"
