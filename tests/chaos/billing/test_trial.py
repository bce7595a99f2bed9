"""A small storm over money in the suite, on Postgres: `python -m tests.chaos --billing` is the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.chaos.billing.trial import BillingPlan, billing_trial
from tests.e2e.platform import server


@pytest.mark.processes
@pytest.mark.skipif(not server(), reason="SQLite is for one web process and one worker")
def test_every_cent_is_where_it_belongs_after_a_storm(tmp_path: Path) -> None:
    # A landing must not depend on what chance draws; everybody else's runs go on searching.
    seed = 1 if os.environ.get("CI") else random.randrange(1_000_000)
    plan = BillingPlan(seed=seed, casts=30, concurrency=10, minutes=0.7, kill_every=(1.5, 3.0))
    verdict = billing_trial(plan, tmp_path)
    assert not verdict.violations, "\n".join([f"seed {seed}", verdict.report, *verdict.violations])
