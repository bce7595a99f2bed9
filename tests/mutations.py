"""Take each guard of casts and money away and see that a test notices. Run by hand: `python -m tests.mutations [WORD]`.

Each mutation is a change of text in a copy of the tree, after which the tests named with it must fail. It ends with
code 1 if one survives, or if its text is no longer there. WORD picks the mutations whose names hold it. Those that only
concurrent transactions can tell apart are tried on Postgres: SQLite puts its writers in line by itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.postgres import a_postgres

ROOT = Path(__file__).resolve().parent.parent
LIFECYCLE, SLOTS = "casts/lifecycle/moves.py", "casts/lifecycle/slots.py"
BUDGET, IDEMPOTENCY = "accounts/budget.py", "casts/lifecycle/idempotency.py"
MACHINE, RACES = "tests/casts/lifecycle/test_money_machine.py", "tests/casts/lifecycle/test_money_races.py"
CANCEL, STEPS = "tests/casts/lifecycle/test_cancel.py", "tests/casts/execution/test_steps.py"
MOVES = "tests/casts/lifecycle/test_moves.py"
SCOPES, LEDGER = "tests/accounts/test_scopes_of_budget.py", "tests/accounts/test_ledger.py"
ONCE, LINE = "tests/casts/lifecycle/test_idempotency.py", "tests/casts/lifecycle/test_slots.py"


@dataclass(frozen=True)
class Mutation:
    """In `file`, `old` becomes `new`; then one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    postgres: bool = False


MUTATIONS = [
    # Moves.
    Mutation("_move: from any status", LIFECYCLE, ", status__in=ALLOWED_FROM[to])", ")", (MOVES, MACHINE)),
    Mutation(
        "mine: without the token", "core/queue/due.py", "token=self.token, lease_until", "lease_until", (MOVES, MACHINE)
    ),
    Mutation(
        "mine: without the lease",
        "core/queue/due.py",
        "token=self.token, lease_until__isnull=False)",
        "token=self.token)",
        (MOVES,),
    ),
    Mutation(
        "end: without the claim",
        LIFECYCLE,
        "Cast.claimed().filter(status__in=OPEN)",
        'Cast.objects.filter(Q(token=Param(Cast, "token")) | Q(token__gte=0), pk=Param(Cast, "id"), status__in=OPEN)',
        (MOVES, MACHINE),
    ),
    Mutation(
        "give_run: over another run",
        LIFECYCLE,
        "run_id=None, status__in=OPEN).update(\n",
        "status__in=OPEN).update(\n",
        (MOVES, MACHINE),
    ),
    Mutation(
        "give_run: to an ended cast",
        LIFECYCLE,
        "run_id=None, status__in=OPEN).update(\n",
        "run_id=None).update(\n",
        (MOVES, CANCEL),
    ),
    Mutation(
        "cast_behind: by its title while the answer may still name the run",
        LIFECYCLE,
        "filter(TITLE_MAY_TELL, pk=tokens[0])",
        "filter(RUNLESS, pk=tokens[0])",
        (MOVES,),
    ),
    Mutation(
        "cast_behind: a run that can't be ours",
        LIFECYCLE,
        "if waiting is not None and runtime_of(waiting).may_own(waiting, seen):",
        "if waiting is not None:",
        (MOVES,),
    ),
    Mutation(
        "cast_behind: one of several tokens",
        LIFECYCLE,
        "    if len(tokens) != 1:\n        return None\n",
        "    if not tokens:\n        return None\n",
        (MOVES,),
    ),
    Mutation(
        "dispatched: a guess stays",
        LIFECYCLE,
        "            _correct_run(cast.pk, run)\n",
        "            pass\n",
        (MOVES,),
    ),
    Mutation(
        "run_out: no last look",
        "casts/execution/steps.py",
        "return give_up(cast, reason) if cast.cancel_requested_at is not None else run_out(cast)",
        "return give_up(cast, reason)",
        (STEPS,),
    ),
    Mutation(
        "observe: after the end",
        LIFECYCLE,
        "    if cast.final:\n        return _note_rerun(cast, seen)\n",
        "",
        (MOVES, MACHINE),
    ),
    # Dispatch.
    Mutation(
        "intend: without the claim",
        LIFECYCLE,
        "changed = cast.mine().filter(status",
        "changed = Cast.objects.filter(pk=cast.pk).filter(status",
        (MOVES, CANCEL, MACHINE),
    ),
    Mutation(
        "intend: in any status",
        LIFECYCLE,
        "filter(status=CastStatus.QUEUED, run_id=None, cancel",
        "filter(run_id=None, cancel",
        (MOVES, CANCEL, MACHINE),
    ),
    Mutation(
        "intend: with a run already",
        LIFECYCLE,
        "QUEUED, run_id=None, cancel_requested",
        "QUEUED, cancel_requested",
        (MOVES, CANCEL, MACHINE),
    ),
    Mutation(
        "intend: though cancelled",
        LIFECYCLE,
        "run_id=None, cancel_requested_at=None)\n        done",
        "run_id=None)\n        done",
        (STEPS, CANCEL),
    ),
    # Cancel.
    Mutation(
        "cancel: at once though sent",
        LIFECYCLE,
        'filter(pk=Param(Cast, "id"), dispatch_started_at=None, status__in=OPEN)',
        'filter(pk=Param(Cast, "id"), status__in=OPEN)',
        (CANCEL,),
    ),
    Mutation(
        "cancel: an ended cast",
        LIFECYCLE,
        "filter(pk=cast_id, status__in=OPEN, cancel_requested_at=None, run",
        "filter(pk=cast_id, cancel_requested_at=None, run",
        (CANCEL, MACHINE),
    ),
    Mutation(
        "cancel: again and again",
        LIFECYCLE,
        "status__in=OPEN, cancel_requested_at=None, run_finished_at",
        "status__in=OPEN, run_finished_at",
        (CANCEL,),
    ),
    Mutation(
        "cancel: after the run's end",
        LIFECYCLE,
        "cancel_requested_at=None, run_finished_at=None)",
        "cancel_requested_at=None)",
        (CANCEL,),
    ),
    Mutation(
        "request_cancel: over the first reason",
        LIFECYCLE,
        ".filter(status__in=OPEN, cancel_requested_at=None)\n",
        ".filter(status__in=OPEN)\n",
        (CANCEL, STEPS),
    ),
    # Money.
    Mutation(
        "hold: without the room",
        BUDGET,
        'Q(cap_cents__gt=0, cap_cents__gte=F("held_cents") + F("captured_cents") + CENTS)',
        "Q(cap_cents__gt=0)",
        (SCOPES, MACHINE),
    ),
    Mutation(
        "hold: look, then take",
        BUDGET,
        "filter(ROOM, OF_MONTH, scope=BudgetScope.ACCOUNT), held",
        "filter(pk__in=BudgetPeriod.objects.filter(ROOM, OF_MONTH, scope=BudgetScope.ACCOUNT)), held",
        (RACES,),
        postgres=True,
    ),
    Mutation(
        "hold: the account's cap alone",
        BUDGET,
        "if period.scope != BudgetScope.ACCOUNT:\n            if not",
        "if False:\n            if not",
        (SCOPES, MACHINE),
    ),
    Mutation(
        "settle: the account's counter alone",
        BUDGET,
        "filter(OF_MONTH, WITHIN),",
        "filter(OF_MONTH, WITHIN, ref='-'),",
        (SCOPES, MACHINE),
    ),
    Mutation(
        "settle: forgets the rest", BUDGET, "if capture_cents < held.cents or not moves:", "if not moves:", (LEDGER,)
    ),
    Mutation(
        "end: settles nothing",
        LIFECYCLE,
        "    budget.settle(ended.pk, capture_cents=charged_cents)\n",
        "",
        (MOVES,),
    ),
    Mutation(
        "open_month: not all at once",
        BUDGET,
        "return\n    with transaction.atomic():",
        "return\n    with __import__('contextlib').nullcontext():",
        (SCOPES,),
    ),
    Mutation(
        "database: two settlements",
        "accounts/migrations/0004_guard_ledger.py",
        "fields=('cast_id',), name='one_settlement_per_cast'",
        "fields=('cast_id', 'kind'), name='one_settlement_per_cast'",
        (LEDGER,),
    ),
    Mutation(
        "database: more than was held",
        "accounts/migrations/0004_guard_ledger.py",
        "models.Q(('cents__lte', models.F('hold_cents')))",
        "models.Q(('cents__gte', 0))",
        (LEDGER,),
    ),
    Mutation(
        "database: a ledger that changes",
        "accounts/migrations/0004_guard_ledger.py",
        "BEFORE UPDATE ON accounts_ledgerentry",
        "BEFORE UPDATE ON accounts_apikey",
        (LEDGER,),
    ),
    # Idempotency.
    Mutation(
        "once: keys are not unique",
        "casts/migrations/0003_idempotency_and_retry.py",
        "[models.UniqueConstraint(fields=('account', 'route', 'key'), name='one_answer_per_key')]",
        "[]",
        (ONCE, RACES),
    ),
    Mutation(
        "once: the record in a transaction of its own",
        LIFECYCLE,
        "    with transaction.atomic():\n        if first is not None:\n            first(cast)\n",
        "    if first is not None:\n        first(cast)\n    with transaction.atomic():\n",
        (ONCE, RACES),
    ),
    Mutation(
        "once: any payload", IDEMPOTENCY, "if record.fingerprint != fingerprint(payload):", "if False:", (ONCE, MACHINE)
    ),
    Mutation("once: for ever", IDEMPOTENCY, "record.created_at <= timezone.now() - KEPT", "False", (ONCE, MACHINE)),
    Mutation(
        "once: of any account",
        IDEMPOTENCY,
        "ANSWERED.first(account_id=account.pk, route=route, key=key)",
        "IdempotencyRecord.objects.filter(route=route, key=key).first()",
        (ONCE,),
    ),
    Mutation(
        "once: a twin waits for ever",
        IDEMPOTENCY,
        "wait_for_locks(TWIN_WAIT_MS)",
        "wait_for_locks(9000)",
        (RACES,),
        postgres=True,
    ),
    # Slots.
    Mutation(
        "slots: nobody waits",
        LIFECYCLE,
        "if limited and (wait := slots.wait_of(cast)) is not None:",
        "if limited and (wait := slots.wait_of(cast)) is not None and False:",
        (LINE, MACHINE),
    ),
    Mutation(
        "slots: without the spell's lock",
        SLOTS,
        "        Spell.objects.select_for_update(no_key=True).get(pk=cast.spell_id)\n",
        "",
        (RACES,),
        postgres=True,
    ),
    Mutation(
        "slots: without the account's lock",
        SLOTS,
        "        Account.objects.select_for_update(no_key=True).get(pk=cast.account_id)\n",
        "",
        (RACES,),
        postgres=True,
    ),
    Mutation("slots: no turns", LIFECYCLE, "            slots.took(cast)\n", "            pass\n", (LINE,)),
    Mutation(
        "slots: crowded accounts are in the way",
        SLOTS,
        "if account_id not in full and account_id",
        "if account_id",
        (LINE,),
    ),
    Mutation(
        "slots: nobody is woken",
        LIFECYCLE,
        "transaction.on_commit(lambda: _offer_slot(ended), robust=True)",
        "",
        (LINE,),
    ),
    Mutation(
        "slots: a turn wakes nobody",
        LIFECYCLE,
        "transaction.on_commit(lambda: _offer_slot(cast), robust=True)",
        "pass",
        (LINE,),
    ),
]


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what git knows of, and what is new."""
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    return tree


def tried(mutation: Mutation, tree: Path, url: str | None) -> tuple[str, str]:
    """Run a mutation's tests; return what became of it, and which test noticed."""
    file = tree / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        return "NOT FOUND", f"{text.count(mutation.old)} times in {mutation.file}"
    file.write_text(text.replace(mutation.old, mutation.new))
    environment = {name: value for name, value in os.environ.items() if name != "TEST_DATABASE_URL"}
    environment |= {"TEST_DATABASE_URL": url} if url else {}
    environment |= {"SPELL_RACE_ROUNDS": "60"} if url else {}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *mutation.tests]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    finally:
        file.write_text(text)
    noticed = re.search(r"^(?:FAILED|ERROR) \S*?::(\S+)", done.stdout, re.M)
    if done.returncode == 0:
        return "SURVIVED", ""
    return ("killed", noticed[1]) if done.returncode == 1 and noticed else ("BROKEN", done.stdout[-300:] + done.stderr)


def main() -> int:
    """Try them all; print a line for each."""
    chosen = [m for m in MUTATIONS if all(word in m.name for word in sys.argv[1:])]
    bad = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spell-mutations-")))
        tree = copy_of_the_tree(folder)
        url = stack.enter_context(a_postgres()) if any(m.postgres for m in chosen) else None
        for mutation in chosen:
            began = time.monotonic()
            outcome, by = tried(mutation, tree, url if mutation.postgres else None)
            bad += outcome != "killed"
            where = "Postgres" if mutation.postgres else "SQLite"
            seconds = time.monotonic() - began
            print(f"{outcome:9} {mutation.name:46} {where:8} {seconds:4.0f} s  {by}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} noticed.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
