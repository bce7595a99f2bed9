"""Fill a database with years of service: `python -m tests.bench.growth URL --casts 10000000 --events 2 --months 12`.

By SQL on the server, some at a time, so that it may be stopped; rows are narrower than in service: it is their number
that is of interest here. The database must have been migrated, and is not for anything else afterwards.
"""

from __future__ import annotations

import argparse
import json
import time

import psycopg

from tests.bench.seed import FIRST_RUN, snapshot

BATCH = 500_000  # casts
ACCOUNTS, SPELLS = 500, 40

BASICS = """
INSERT INTO accounts_account (name, require_idempotency_key, sealed_callback_secrets, created_at)
SELECT 'grown ' || n, false, '', now() FROM generate_series(1, %(accounts)s) n
"""
SPELL = """
INSERT INTO casts_spell (key, name, description, active, runtime, input_schema, price_cents, tags_runs,
  charge_failed_runs, timeout_seconds, ttl_seconds, artifact_retention_days, created_at, updated_at)
SELECT 'grown-' || n, 'Grown ' || n, '', true, 'workflow_dispatch', '{"type": "object"}', 5, true, true, 3600, 86400,
  30, now(), now() FROM generate_series(1, %(spells)s) n
"""
# In one statement: to find the casts again would take longer with each batch.
CASTS = """
WITH made AS (
INSERT INTO casts_cast (
  id, account_id, spell_id, input, metadata, callback_url, cost_cents, status, status_reason, message, progress,
  step_name, last_seq, created_at, expires_at, started_at, finished_at, dispatch_attempts, dispatch_started_at,
  dispatched_at, run_scope, run_key, run_attempt, run_url, jobs, cancel_reason, output, charged_cents, attempts,
  claim_number)
SELECT
  (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || 'a' ||
   substr(hash, 4, 15))::uuid,
  accounts[1 + trunc(cardinality(accounts) * power(random(), 3))::int], spells[1 + n %% cardinality(spells)],
  '{"name":"caller ' || n || '"}', '{}', '', 5,
  CASE WHEN n %% 20 = 0 THEN 'failed' ELSE 'succeeded' END,
  CASE WHEN n %% 20 = 0 THEN 'run_failed' ELSE 'succeeded' END,
  'Done.', 100, '', %(events)s, at, at + interval '1 day', at, at + interval '40 s', 1, at, at, 'demo/spells',
  (%(first_run)s + n)::text, 1, '', '[]', '', '{"length":12}', 5, 0, 0
FROM (
  SELECT n, md5(n::text) AS hash,
    %(until)s::timestamptz - %(months)s * interval '1 month' * (1 - n::float / %(count)s) AS at,
    (SELECT array_agg(id) FROM accounts_account WHERE name LIKE 'grown %%') AS accounts,
    (SELECT array_agg(id) FROM casts_spell WHERE key LIKE 'grown-%%') AS spells
  FROM generate_series(%(from)s::bigint, %(to)s::bigint) AS n
) numbered
RETURNING id, created_at
)
INSERT INTO casts_castevent (cast_id, seq, kind, data, at)
SELECT id, seq, CASE seq WHEN 1 THEN 'accepted' WHEN %(events)s THEN 'ended' ELSE 'progress' END, %(data)s,
  created_at + seq * interval '1 s'
FROM made, generate_series(1, %(events)s) AS seq ORDER BY id, seq
"""

DELIVERIES = """
INSERT INTO webhooks_delivery (attempts, claim_number, guid, event, action, repository, run_id, body, received_at,
  repeats, outcome, error, applied_at)
SELECT 0, 0, md5(n::text)::uuid::text, 'workflow_run', 'completed', 'demo/spells', %(first_run)s + n,
  repeat(md5(n::text), 20), at, 0, 'applied', '', at
FROM (
  SELECT n, %(until)s::timestamptz - %(months)s * interval '1 month' * (1 - n::float / %(count)s) AS at
  FROM generate_series(1, %(count)s::bigint) AS n
) numbered
"""


def fill(url: str, *, casts: int, events: int, months: int, deliveries: int = 0, start: int = 1) -> None:
    data = {**snapshot("succeeded", "succeeded", final=True), "cast_id": "0190c2f0-0000-7000-a000-000000000000"}
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        # What is inserted is sound: looking its foreign keys up row by row would take most of the time.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        if start == 1:
            connection.execute(BASICS, {"accounts": ACCOUNTS})
            connection.execute(SPELL, {"spells": SPELLS})
        values = {
            **{"count": casts, "events": events, "months": months, "first_run": FIRST_RUN},
            **{"until": connection.execute("SELECT now()").fetchone()[0], "data": json.dumps(data)},  # type: ignore[index]
        }
        began = time.monotonic()
        for first in range(start, casts + 1, BATCH):
            batch = {**values, "from": first, "to": min(casts, first + BATCH - 1)}
            connection.execute(CASTS, batch)
            print(f"{batch['to']:>12,} casts: {time.monotonic() - began:,.0f} s", flush=True)
        if deliveries:
            connection.execute(DELIVERIES, {**values, "count": deliveries})
        for table in ("casts_cast", "casts_castevent", "webhooks_delivery"):
            connection.execute(f"VACUUM (ANALYZE) {table}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--casts", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=2, help="of each cast")
    parser.add_argument("--deliveries", type=int, default=0)
    parser.add_argument("--months", type=int, default=12, help="over which they were cast, until now")
    parser.add_argument("--start", type=int, default=1, help="with this cast, where an earlier run was stopped")
    fill(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
