"""What is measured of billing: differences between our books and Stripe's, which must be none."""

from __future__ import annotations

from collections.abc import Iterator

from core.telemetry.metrics import Sample, figure
from payments.reconcile import last

DIFFERENCES = figure("spell_billing_differences", "What manage.py verifybilling found to differ; must be 0.")
CHECKED = figure("spell_billing_checked_timestamp_seconds", "When manage.py verifybilling was last run.")


def billing() -> Iterator[Sample]:
    if (found := last()) is not None:
        yield DIFFERENCES.is_(len(found.differences.splitlines()))
        yield CHECKED.is_(found.at.timestamp())
