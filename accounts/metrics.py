"""What is measured of money: differences, which must be none."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.proof.models import LedgerCheck
from core.telemetry.metrics import Sample, figure

DIFFERENCE = figure("spell_ledger_difference_cents", "By how much counters of money differ from the ledger; must be 0.")
DIFFERING = figure("spell_ledger_counters_differing", "How many counters of money do; 50 at most are told.")
CHECKED = figure("spell_ledger_checked_timestamp_seconds", "When workers last compared them, each hour.")


def ledger() -> Iterator[Sample]:
    last = LedgerCheck.objects.exclude(ended_at=None).first()
    if last is not None and last.ended_at is not None:
        yield DIFFERENCE.is_(last.difference_cents)
        yield DIFFERING.is_(len(last.differences.splitlines()))
        yield CHECKED.is_(last.ended_at.timestamp())
