"""A small storm in every run of the suite, on Postgres: `python -m tests.chaos` is the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.chaos.trial import Plan, trial
from tests.e2e.platform import server


@pytest.mark.processes
@pytest.mark.skipif(not server(), reason="SQLite is for one web process and one worker")
def test_every_promise_is_kept_in_a_storm(tmp_path: Path):
    # A landing must not depend on what chance draws; everybody else's runs go on searching.
    seed = 1 if os.environ.get("CI") else random.randrange(1_000_000)
    plan = Plan(
        seed=seed,
        casts=30,
        concurrency=10,
        minutes=0.5,
        phase_without_webhooks=True,
        kill_every=(1.5, 3.0),
        settings=(("CAST_LOST_SECONDS", "8"), ("CAST_CANCEL_GRACE_SECONDS", "8")),
    )
    verdict = trial(plan, tmp_path)
    assert not verdict.violations, "\n".join([f"seed {seed}", verdict.report, *verdict.violations])
