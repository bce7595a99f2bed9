"""What is done after a commit, and may fail."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from django.db import transaction

from core.db.commits import once_committed

ROOT = Path(__file__).parents[2]


class Away:
    def __call__(self, *args: object) -> None:
        raise OSError(f"away: {args}")


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_what_fails_after_a_commit_is_logged_and_the_rest_is_done(caplog):
    done: list[object] = []
    with transaction.atomic():
        once_committed(Away(), "a")  # nothing that has a name
        once_committed(done.append, "b")
    assert done == ["b"]
    assert [(r.levelno, r.exc_info is not None) for r in caplog.records] == [(logging.ERROR, True)]


def test_nothing_else_asks_django_for_it():
    apps = ("core", "accounts", "casts", "payments", "github_integration", "webhooks", "spellplatform")
    files = [file for app in apps for file in (ROOT / app).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix() for file in files if re.search(r"robust\s*=\s*True", file.read_text())}
    assert found == {"core/db/commits.py"}
