"""The transactions that begin and end a cast, one after the other in one process: what each costs a worker."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.bench.installation import Installation
from tests.bench.measures import median, percentile
from tests.bench.report import Table
from tests.bench.run import Run
from tests.e2e.platform import ROOT

TIMES = """
import datetime, json, os, sys, time
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spellplatform.settings")
import django
django.setup()
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from accounts.models import ApiKey
from casts.lifecycle import moves
from casts.models import Cast, CastStatus, Spell
key = ApiKey.objects.select_related("account").get()
spell = Spell.objects.get(key="greet")
step = {"name": "Run", "status": "completed", "conclusion": "success", "started_at": None, "completed_at": None}
job = {"id": 1, "attempt": 1, "name": "cast", "status": "completed", "steps": [step] * 8}

def timed(call, *args):
    began, used = time.perf_counter(), time.thread_time()
    found = call(*args)
    return found, ((time.perf_counter() - began) * 1000, (time.thread_time() - used) * 1000)

def accept():
    cast = moves.new_cast(api_key=key, spell=spell, input={"name": "Ada"})
    with transaction.atomic():
        moves.accept(cast)
    return cast

def claimed(cast):
    now = timezone.now()
    Cast.objects.filter(pk=cast.pk).update(
        status="running", started_at=now, run_finished_at=now, jobs=[job], lease_until=now + datetime.timedelta(hours=1)
    )
    return Cast.objects.select_related("spell", "account").get(pk=cast.pk)

def end(cast):
    done = {"reason": "succeeded", "message": "Done.", "output": {"greeting": "Hello, Ada"}, "charge": True}
    assert moves.end(cast, CastStatus.SUCCEEDED, **done)

accepted, ended = [], []
for number in range(int(sys.argv[1]) + 30):  # the first ones compile and prepare
    cast, took = timed(accept)
    accepted.append(took)
    held = claimed(cast)
    ended.append(timed(end, held)[1])

def statements(call, *args):
    with CaptureQueriesContext(connection) as queries:
        call(*args)
    return sum(query["sql"] not in ("BEGIN", "COMMIT") for query in queries)

asked_to_accept, last = statements(accept), claimed(accept())
asked_to_end = statements(end, last)
found = {"acceptance of a cast": (accepted[30:], asked_to_accept), "end of a cast": (ended[30:], asked_to_end)}
print(json.dumps(found))
"""


def measure(run: Run) -> None:
    count = run.pick(400, 100)
    table = Table(
        "Accepting a cast and ending one, alone, on Postgres", ["what", "p50 ms", "p99", "CPU ms", "statements"]
    )
    table.note = (
        "Each with all that its transaction does, and the commit. In one process, one after the other; CPU of "
        "Python, without the database's."
    )
    run.findings.tables.append(table)
    with run.installation("ends") as place:
        found = measured(place, count)
    for what, (times, statements) in found.items():
        taken, cpu = [wall for wall, _ in times], median(cpu for _, cpu in times)
        table.add(what, median(taken), percentile(taken, 99), cpu, statements)
        run.say(
            f"{what}: p50 {median(taken):.2f} ms, p99 {percentile(taken, 99):.2f} ms, CPU {cpu:.2f} ms, "
            f"{statements} statements"
        )
    times, statements = found["end of a cast"]
    p50 = median(wall for wall, _ in times)
    run.findings.goal("end of a cast, alone", "p50 ≤ 4 ms", f"{p50:.1f} ms, {statements} statements", p50 <= 4)


def measured(place: Installation, count: int) -> dict[str, tuple[list[tuple[float, float]], int]]:
    command = [sys.executable, "-c", TIMES, str(count)]
    done = subprocess.run(command, cwd=ROOT, env=place.environment(), capture_output=True, text=True, check=True)
    found: dict[str, tuple[list[tuple[float, float]], int]] = json.loads(done.stdout.splitlines()[-1])
    return found
