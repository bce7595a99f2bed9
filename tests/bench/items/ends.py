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
from accounts import credit
from accounts.models import Account, ApiKey
from casts.lifecycle import accepting, ending
from casts.models import Cast, CastStatus, Spell
key = ApiKey.objects.select_related("account").get()
spell = Spell.objects.get(key="greet")
step = {"name": "Run", "status": "completed", "conclusion": "success", "started_at": None, "completed_at": None}
job = {"id": 1, "attempt": 1, "name": "cast", "status": "completed", "steps": [step] * 8}

def timed(call, *args):
    began, used = time.perf_counter(), time.thread_time()
    found = call(*args)
    return found, ((time.perf_counter() - began) * 1000, (time.thread_time() - used) * 1000)

account = Account.objects.create(name="billed")  # the same, but that its casts are paid for from credit
credit.begin_billing(account)
credit.book(account.pk, "grant", 10**9, "grant:bench")
fields = {name: getattr(key, name) for name in ("scopes", "spell_keys", "expires_at")}
billed_key = ApiKey.objects.create(account=account, name="billed", prefix="billed", digest="billed", **fields)

def accept(key=key):
    cast = accepting.new_cast(account=key.account, api_key=key, spell=spell, input={"name": "Ada"})
    with transaction.atomic():
        accepting.accept([cast])
    return cast

def claimed(cast):
    now = timezone.now()
    Cast.objects.filter(pk=cast.pk).update(
        status="running", started_at=now, run_finished_at=now, jobs=[job], lease_until=now + datetime.timedelta(hours=1)
    )
    return Cast.objects.select_related("spell", "account").get(pk=cast.pk)

def end(cast):
    left = ending.Left(output={"greeting": "Hello, Ada"})
    done = {"reason": "succeeded", "message": "Done.", "left": left, "charge": True}
    assert ending.end(cast, CastStatus.SUCCEEDED, **done)

accepted, ended, billed = [], [], []
for number in range(int(sys.argv[1]) + 30):  # the first ones compile and prepare
    # In turns, and each of them first every other time, so that the ratio is not of two hours of the machine.
    casts = {}
    for times, by in ((accepted, key), (billed, billed_key))[:: 1 if number % 2 else -1]:
        casts[by.pk], took = timed(accept, by)
        times.append(took)
    ended.append(timed(end, claimed(casts[key.pk]))[1])
    end(claimed(casts[billed_key.pk]))

def statements(call, *args):
    with CaptureQueriesContext(connection) as queries:
        call(*args)
    return sum(query["sql"] not in ("BEGIN", "COMMIT") for query in queries)

asked_to_accept, asked_of_billed, last = statements(accept), statements(accept, billed_key), claimed(accept())
asked_to_end = statements(end, last)
found = {
    "acceptance of a cast": (accepted[30:], asked_to_accept),
    "acceptance for a billed account": (billed[30:], asked_of_billed),
    "end of a cast": (ended[30:], asked_to_end),
}
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
    plain, billed = (median(wall for wall, _ in found[what][0]) for what in list(found)[:2])
    ratio = billed / plain
    run.findings.goal(
        "accepting a cast of a billed account", "p50 ≤ 1.1 times any other's", f"{ratio:.2f}", ratio <= 1.1
    )
    times, statements = found["end of a cast"]
    p50 = median(wall for wall, _ in times)
    run.findings.goal("end of a cast, alone", "p50 ≤ 4 ms", f"{p50:.1f} ms, {statements} statements", p50 <= 4)


def measured(place: Installation, count: int) -> dict[str, tuple[list[tuple[float, float]], int]]:
    command = [sys.executable, "-c", TIMES, str(count)]
    done = subprocess.run(command, cwd=ROOT, env=place.environment(), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, tuple[list[tuple[float, float]], int]] = json.loads(done.stdout.splitlines()[-1])
    return found
