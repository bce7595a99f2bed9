"""`python -m tests.e2e.ticker ROUNDS SECONDS FILE CAST…`: moves casts on by one step a round, as webhooks would.

The last round is when the file is there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import django

django.setup()

from casts.lifecycle import observing  # noqa: E402 - needs a set-up Django
from casts.models import Cast  # noqa: E402
from casts.runtime import Job, JobStep, Observation  # noqa: E402


def main(rounds: int, seconds: float, until: Path, cast_ids: list[str]) -> None:
    """Every round gives each cast one event."""
    casts = list(Cast.objects.filter(pk__in=cast_ids))
    for number in range(1, rounds + 1):
        while number == rounds and not until.exists():
            time.sleep(0.05)
        began = time.monotonic()
        steps = tuple(
            JobStep(f"step {n}", n, "completed" if n < number else "in_progress") for n in range(1, number + 1)
        )
        job = Job(1, "job", "in_progress", steps=steps)
        for at, cast in enumerate(casts, 1):
            if not observing.observe(cast.pk, Observation(cast.run_scope, cast.run_key or str(at), jobs=(job,))):
                raise SystemExit(f"{cast.pk} did not move in round {number}")
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
