"""Everything that the judge hears: what callers and followers saw, GitHub's own record, and the database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.chaos.callers import Wish
from tests.chaos.followers import Watch
from tests.chaos.inbox import Inbox, Told
from tests.chaos.installation import Installation

CASTS = """
    SELECT c.id::text AS id, s.key AS spell_key, c.input::json AS input, c.status, c.status_reason, c.message,
           c.run_key::bigint AS run_id,
           c.output::json AS output, c.error::json AS error, c.cost_cents, c.charged_cents, c.last_seq,
           c.dispatch_attempts, c.metadata::json AS metadata, c.finished_at IS NULL AS open,
           EXTRACT(EPOCH FROM c.created_at)::float AS created,
           EXTRACT(EPOCH FROM c.finished_at)::float AS finished,
           EXTRACT(EPOCH FROM c.cancel_requested_at)::float AS cancel_requested
    FROM casts_cast c JOIN casts_spell s ON s.id = c.spell_id ORDER BY c.created_at
"""
EVENTS = """
    SELECT cast_id::text AS cast_id, seq, kind, data::json ->> 'status_reason' AS reason,
           EXTRACT(EPOCH FROM at)::float AS at
    FROM casts_castevent ORDER BY cast_id, seq
"""
UNTAGGED = """
    SELECT s.key FROM casts_spell s JOIN github_integration_workflowtarget t ON t.spell_id = s.id
    WHERE t.input_mapping = 'native'
"""
LIMITS = "SELECT key, max_running FROM casts_spell WHERE max_running IS NOT NULL"


@dataclass
class Evidence:
    """Plain data, so that it can be kept as JSON and doctored by tests."""

    wishes: list[Wish]
    watches: list[Watch]
    record: dict[str, Any]  # of the local GitHub
    casts: dict[str, dict[str, Any]]  # by id
    keys: dict[str, str]  # Idempotency-Key: cast id
    history: dict[str, list[int]]  # numbers of a cast's events
    ledger: dict[str, list[tuple[str, int]]]
    artifacts: dict[str, dict[str, str]]  # of a cast: SHA-256 of the bytes that we serve, else the copy's state
    held_cents: int = 0
    captured_cents: int = 0
    ledger_verified: str = ""  # blank, or what verifyledger complained of
    timeline: dict[str, list[tuple[float, str, str]]] = field(default_factory=dict)  # for the report
    told: list[Told] = field(default_factory=list)  # the callbacks that arrived
    forged: int = 0  # callbacks with a wrong signature
    limits: dict[str, int] = field(default_factory=dict)  # by spell: how many may run at once
    cancel_grace: float = 60.0  # seconds
    untagged: set[str] = field(default_factory=set)  # spells whose runs don't say which cast's they are
    runs: dict[str, list[dict[str, Any]]] = field(init=False)  # by cast id, strangers' left out

    def __post_init__(self) -> None:
        self.runs = {}
        words = {cast["input"]["word"]: cast["id"] for cast in self.casts.values()}
        for run in self.record["runs"]:
            # Each cast has a word of its own, so that the judge knows what the platform can't.
            run["cast_id"] = run["cast_id"] or words.get(run.get("inputs", {}).get("word"))
            if run["cast_id"] and not run["noise"]:
                self.runs.setdefault(run["cast_id"], []).append(run)


def collect(where: Installation, wishes: list[Wish], watches: list[Watch], inbox: Inbox) -> Evidence:
    """Read everything, once all is quiet."""
    casts = {row["id"]: row for row in where.rows(CASTS)}
    history: dict[str, list[int]] = {}
    timeline: dict[str, list[tuple[float, str, str]]] = {}
    for row in where.rows(EVENTS):
        history.setdefault(row["cast_id"], []).append(row["seq"])
        timeline.setdefault(row["cast_id"], []).append((row["at"], row["kind"], row["reason"]))
    ledger: dict[str, list[tuple[str, int]]] = {}
    entries = "SELECT cast_id::text AS cast_id, kind, cents FROM accounts_ledgerentry ORDER BY id"
    for row in where.rows(entries):
        ledger.setdefault(row["cast_id"], []).append((row["kind"], row["cents"]))
    keys = where.rows("SELECT key, body::json ->> 'cast_id' AS cast_id FROM casts_idempotencyrecord")
    [books] = where.rows(
        "SELECT COALESCE(SUM(held_cents), 0)::int AS held, COALESCE(SUM(captured_cents), 0)::int AS captured "
        "FROM accounts_budgetperiod WHERE scope = 'account'"
    )
    return Evidence(
        wishes=wishes,
        watches=watches,
        record=where.record(),
        casts=casts,
        keys={row["key"]: row["cast_id"] for row in keys},
        history=history,
        timeline=timeline,
        ledger=ledger,
        artifacts=served(where, casts),
        held_cents=books["held"],
        captured_cents=books["captured"],
        ledger_verified=verified(where),
        told=inbox.told,
        forged=inbox.forged,
        limits={row["key"]: row["max_running"] for row in where.rows(LIMITS)},
        untagged={row["key"] for row in where.rows(UNTAGGED)},
        cancel_grace=float(where.environment["CAST_CANCEL_GRACE_SECONDS"]),
    )


def verified(where: Installation) -> str:
    """Return what `manage.py verifyledger` has to complain of."""
    try:
        where.manage("verifyledger")
    except AssertionError as exc:
        return str(exc)
    return ""


def served(where: Installation, casts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Download every artifact from our API."""
    found: dict[str, dict[str, str]] = {cast_id: {} for cast_id in casts}
    rows = where.rows("SELECT cast_id::text AS cast_id, name, state FROM casts_artifact")

    def digest(row: dict[str, Any]) -> str:
        if row["state"] != "stored":
            return str(row["state"])
        answer = where.call("GET", f"/api/v1/casts/{row['cast_id']}/artifacts/{quote(row['name'], safe='')}")
        return hashlib.sha256(answer.content).hexdigest() if answer.status_code == 200 else str(answer.status_code)

    with ThreadPoolExecutor(4) as pool:
        for row, value in zip(rows, pool.map(digest, rows), strict=True):
            found[row["cast_id"]][row["name"]] = value
    return found
