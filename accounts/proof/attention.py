"""Telling operators that counters are not what the ledger says."""

from __future__ import annotations

from accounts.proof.models import LedgerCheck
from core.admin.attention import Section, Trouble, User, may


def ledger(user: User) -> Section | None:
    if not may(user, "accounts.view_ledgerentry"):
        return None
    last = LedgerCheck.objects.first()
    lines = last.differences.splitlines() if last is not None else []
    if last is None or not lines:
        return Section("Ledger")
    what = (
        "counter of money is not what the ledger says" if len(lines) == 1 else "counters are not what the ledger says"
    )
    advice = "Run manage.py verifyledger, which proves all counters. A difference is a bug of ours, or somebody's hand."
    return Section("Ledger", (Trouble(what, len(lines), last.ended_at, why=lines[0], advice=advice, key="ledger"),))
