"""`python -m tests.chaos`: casts in a storm of faults and kills, and a verdict. Ends with 1 if a promise was broken."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.billing.trial import BillingPlan, billing_trial
from tests.chaos.trial import Plan, trial
from tests.postgres import a_postgres


def read_plan() -> tuple[Plan | BillingPlan, bool]:
    """Return what the command line asks for, and whether to keep logs and evidence in any case."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--billing", action="store_true", help="accounts pay, and the storm goes over Stripe, not GitHub"
    )
    parser.add_argument("--casts", type=int, help="300 without; 2000 with --billing")
    parser.add_argument("--concurrency", type=int, default=20, help="casts under way at a time")
    parser.add_argument("--seed", type=int, help="random without; printed first")
    parser.add_argument("--minutes", type=float, default=60, help="cast nothing more after that")
    parser.add_argument(
        "--phase-without-webhooks", action="store_true", help="for the middle third no webhook arrives at all"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and evidence also of a good end")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    if given.billing:
        common = {"seed": seed, "concurrency": given.concurrency, "minutes": given.minutes}
        return BillingPlan(**common, casts=given.casts or 2000), given.keep
    plan = Plan(
        seed=seed,
        casts=given.casts or 300,
        concurrency=given.concurrency,
        minutes=given.minutes,
        phase_without_webhooks=given.phase_without_webhooks,
    )
    return plan, given.keep


def main() -> int:
    """Try one plan; keep what it leaves only if it failed."""
    plan, keep = read_plan()
    print(f"seed {plan.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="spell-chaos-"))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    print(f"logs in {folder}", flush=True)
    with a_postgres() as url:
        os.environ["TEST_DATABASE_URL"] = url
        if isinstance(plan, BillingPlan):
            verdict = billing_trial(plan, folder, say=say)
        else:
            verdict = trial(plan, folder, say=say)
    print(verdict.report)
    if verdict.violations:
        print(f"\n{len(verdict.violations)} promises broken with seed {plan.seed}; logs and evidence are in {folder}")
        print("\n".join(verdict.violations))
        return 1
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\nEvery promise was kept (seed {plan.seed}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
