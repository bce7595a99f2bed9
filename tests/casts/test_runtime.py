"""How casts speak of what runs them: in its own words, and never in those of one runtime."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from string import Formatter

import casts
from casts import disclosure
from github_integration.words import WORDS
from tests.casts.conftest import step

FOLDER = Path(casts.__file__).parent
LABELS = re.compile(r'help_text=|^ +\("(?:On|Seen on) GitHub", \{"fields"|^ +did, others = "')  # what operators read
FILLED_IN = {
    "waiting_for_turn": {"at"},
    "refused": {"why"},
    "no_run_appeared": {"run_tag"},
    "ended_as": {"conclusion"},
    "artifact_pending": {"name"},
    "refused_every_time": {"spell"},
}


def test_casts_name_no_runtime():
    named = [
        f"{file.relative_to(FOLDER)}: {line.strip()}"
        for file in FOLDER.rglob("*.py")
        if "migrations" not in file.parts
        for line in file.read_text().splitlines()
        if "GitHub" in line and not LABELS.search(line)
    ]
    assert not named


def test_words_are_filled_in_with_what_they_are_given():
    texts = {name: value for name, value in vars(WORDS).items() if isinstance(value, str)}
    asked = {name: {field for _, field, *_ in Formatter().parse(text) if field} for name, text in texts.items()}
    assert {name: fields for name, fields in asked.items() if fields} == FILLED_IN


def test_another_runtime_speaks_for_itself(runtime, cast):
    sent, stands = "Sent to the mill; waiting for a stone.", {"waiting_for_github": "The mill stands still."}
    runtime.words = dataclasses.replace(WORDS, name="the mill", sent=sent, without_run=stands)
    step(cast)
    assert cast.message == sent
    assert (
        disclosure.said("waiting_for_github", "GitHub says more.", disclosure.mask_of(cast)) == "The mill stands still."
    )
