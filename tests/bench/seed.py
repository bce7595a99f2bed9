"""Filling a database with casts as they look after some time in service: by SQL, because a million must be quick."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from tests.e2e.platform import REPOSITORY

FIRST_RUN = 20_000_000_000  # run ids: as long as GitHub's
STEPS = ("Set up job", "Check out", "Set up Python", "Install", "Run the spell", "Upload the result", "Complete job")
ACCOUNTS = 20  # the bench's own has half of all casts, the others share the rest


def job(status: str, conclusion: str | None) -> list[dict[str, Any]]:
    """Return the `jobs` column of a cast with one job."""
    at = "2026-11-20T10:00:07.000Z"
    step = {"status": status, "conclusion": conclusion, "started_at": at, "completed_at": at if conclusion else None}
    steps = [{"name": name, "number": n, **step} for n, name in enumerate(STEPS, 1)]
    about = {"id": 5, "name": "cast", "attempt": 1, "url": f"https://github.com/{REPOSITORY}/actions/runs/1/job/5"}
    return [{**about, **step, "steps": steps}]


def snapshot(status: str, reason: str, *, final: bool) -> dict[str, Any]:
    """Return an event's data, without its cast's id."""
    return {
        **{"spell_key": "greet", "status": status, "status_reason": reason, "progress": 100 if final else 10},
        **{"message": "Sent to GitHub; waiting for a runner.", "step": None, "run_url": None, "started_at": None},
        **{"finished_at": None, "duration_ms": None, "steps": [], "artifacts": [], "charged_cents": None},
        **{"output": None, "error": None, "final": final},
    }


CASTS = """
INSERT INTO casts_cast (
  id, account_id, api_key_id, spell_id, input, metadata, callback_url, cost_cents, status, status_reason, message,
  progress, step_name, last_seq, created_at, expires_at, started_at, finished_at, dispatch_attempts,
  dispatch_started_at, dispatched_at, run_scope, run_key, run_attempt, run_url, observation, jobs, run_finished_at,
  cancel_reason, output, charged_cents, due_at, attempts, claim_number)
SELECT
  (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || 'a' ||
   substr(hash, 4, 15))::uuid,
  CASE WHEN n %% 2 = 0 OR %(alone)s THEN own ELSE others[1 + n / 2 %% cardinality(others)] END, NULL, spell,
  jsonb_build_object('name', 'caller ' || n, 'count', n, 'tags', jsonb_build_array('first', 'second')),
  jsonb_build_object('order', 'A-' || n), '', 5, %(status)s, %(reason)s, %(message)s, %(progress)s, '', 2,
  at, at + interval '1 day', CASE WHEN %(started)s THEN at END, CASE WHEN %(final)s THEN at + interval '40 s' END,
  1, at, at, %(repository)s, (%(first_run)s + n)::text, CASE WHEN %(started)s THEN 1 END,
  'https://github.com/' || %(repository)s || '/actions/runs/' || (%(first_run)s + n),
  CASE WHEN %(started)s THEN %(observation)s::jsonb END, %(jobs)s::jsonb, CASE WHEN %(final)s THEN at END, '',
  CASE WHEN %(final)s THEN jsonb_build_object('greeting', 'Hello, caller ' || n, 'length', 12) END,
  CASE WHEN %(final)s THEN 5 END, now() + %(due)s * interval '1 s' + n * %(due_apart)s * interval '1 s', 0, 0
FROM (
  SELECT n, md5(n::text || %(status)s) AS hash,
    now() - %(days)s * interval '1 day' * (1 - n::float / %(count)s) - interval '1 min' AS at,
    (SELECT id FROM accounts_account WHERE name = 'bench') AS own,
    (SELECT array_agg(id) FROM accounts_account WHERE name <> 'bench') AS others,
    (SELECT id FROM casts_spell WHERE key = 'greet') AS spell
  FROM generate_series(1 + %(from)s::bigint, %(count)s::bigint + %(from)s) AS n
) numbered
"""
EVENTS = """
INSERT INTO casts_castevent (cast_id, seq, kind, data, at)
SELECT id, seq, CASE seq WHEN 1 THEN 'accepted' ELSE 'dispatched' END,
  jsonb_build_object('cast_id', id) || %(data)s::jsonb, created_at
FROM casts_cast, generate_series(1, 2) AS seq WHERE run_key::bigint > %(first_run)s
"""


def casts(url: str, count: int, *, kind: str, start: int = 0, events: bool = False) -> None:
    """Add casts numbered from `start` + 1: "waiting" for a runner, "running", or "succeeded" over the last year."""
    final, started = kind == "succeeded", kind != "waiting"
    observation = {
        **{"attempt": 1, "status": "completed" if final else "in_progress", "conclusion": "success" if final else None},
        **{"title": "greet [cast:…]", "run_started_at": "2026-11-20T10:00:05.000Z"},
        **{"updated_at": "2026-11-20T10:00:40.000Z"},
    }
    values = {
        **{"count": count, "from": start, "first_run": FIRST_RUN, "repository": REPOSITORY, "started": started},
        **{"final": final, "alone": not final, "days": 365 if final else 0},
        "status": "succeeded" if final else "running" if started else "queued",
        "reason": "succeeded" if final else "running" if started else "waiting_for_runner",
        "message": "Succeeded." if final else "Running on GitHub.",
        "progress": 100 if final else 10,
        "observation": json.dumps(observation),
        "jobs": json.dumps(job("completed", "success") if final else []),
        # A final cast is due when nobody asks for it any more; an open one is overdue for those who look for work.
        "due": None if final else -60 if kind == "running" else 3600,
        "due_apart": 0 if kind == "waiting" else 0.0001,
    }
    # Values go into the text: the server can't tell the types of parameters in a SELECT list.
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(
            "INSERT INTO accounts_account (name, require_idempotency_key, sealed_callback_secrets, created_at) "
            "SELECT 'other ' || n, false, '', now() FROM generate_series(1, %s) n ON CONFLICT DO NOTHING",
            [ACCOUNTS],
        )
        # What is inserted is sound: looking its foreign keys up row by row would take most of the time.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute(CASTS, values)
        if events:
            data = json.dumps(snapshot("queued", "waiting_for_runner", final=False))
            connection.execute(EVENTS, {"data": data, "first_run": FIRST_RUN})
        for table in ("casts_cast", "casts_castevent"):
            connection.execute(f"VACUUM (ANALYZE) {table}")
        connection.execute("CHECKPOINT")


def ids(url: str, limit: int, *, own: bool = True) -> list[str]:
    """Return casts' ids in the order of their runs, so that number n has the run FIRST_RUN + 1 + n if all are kept."""
    query = (
        "SELECT c.id FROM casts_cast c JOIN accounts_account a ON a.id = c.account_id "
        f"WHERE {'a.name = ' if own else 'true OR a.name = '} 'bench' ORDER BY run_key::bigint LIMIT {limit:d}"
    )
    with psycopg.connect(url) as connection:
        return [str(row[0]) for row in connection.execute(query)]
