"""The guards of casts and money, each with what takes it away and the tests of which one must then fail."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutations.changes import Change, before_its_transaction, drop, reword, swap, without

MOVES_OF = "casts.lifecycle.moves:"
DISPATCHING_OF, BINDING_OF = "casts.lifecycle.dispatching:", "casts.lifecycle.binding:"
OBSERVING_OF, ENDING_OF = "casts.lifecycle.observing:", "casts.lifecycle.ending:"
SLOTS_OF, ONCE_OF = "casts.lifecycle.slots:", "casts.lifecycle.idempotency:"
CREDIT_OF, CREDIT = "accounts.credit:", "tests/accounts/test_credit.py"
BUDGET_OF, LEDGER_OF = "accounts.budget:", "accounts.migrations.0004_guard_ledger:"
MACHINE, RACES = "tests/casts/lifecycle/test_money_machine.py", "tests/casts/lifecycle/test_money_races.py"
CANCEL, STEPS = "tests/casts/lifecycle/test_cancel.py", "tests/casts/execution/test_steps.py"
DUE, MOVES = "tests/core/test_due.py", "tests/casts/lifecycle/test_moves.py"
SCOPES, LEDGER = "tests/accounts/test_scopes_of_budget.py", "tests/accounts/test_ledger.py"
ACCESS_OF = "casts.access:"
READERS, CONTENTS = "tests/casts/test_readers.py", "tests/casts/callbacks/test_contents.py"
OWNERSHIP, AS_ACCEPTED = "tests/casts/spells/test_ownership.py", "tests/github_integration/test_as_accepted.py"
EXCLUSIVE = "tests/github_integration/test_exclusive.py"
FILES = "tests/github_integration/spell_files/test_applying.py"
ONCE, LINE = "tests/casts/lifecycle/test_idempotency.py", "tests/casts/lifecycle/test_slots.py"
ROUNDS = "tests/casts/lifecycle/test_rounds.py"


@dataclass(frozen=True)
class Mutation:
    """`target` with `change` done to it; then one of `tests` must fail."""

    name: str
    target: str  # "package.module:Class.method", or "package.module:NAME" of what is assigned
    change: Change
    tests: tuple[str, ...]
    postgres: bool = False


# A compiled statement takes its values, no more and no fewer, so a condition that is dropped must still ask for its.
ANY_CLAIM = (
    'Cast.objects.filter(Q(claim_number=Param(Cast, "claim_number")) | Q(claim_number__gte=0), pk=Param(Cast, "id"))'
)

MUTATIONS = [
    # Moves.
    Mutation("move: from any status", MOVES_OF + "GUARDED", without("status__in"), (MOVES, MACHINE)),
    Mutation("mine: without the number", "core.queue.due:DueRow.mine", without("claim_number"), (MOVES, MACHINE)),
    Mutation("mine: without the lease", "core.queue.due:DueRow.mine", without("lease_until__isnull"), (DUE,)),
    Mutation(
        "claimed: without the number",
        "core.queue.due:DueRow.claimed",
        swap(
            "_rows.filter(pk=_key, claim_number=_number, lease_until__isnull=_is)",
            "_rows.filter(Q(claim_number=_number) | Q(claim_number__gte=0), pk=_key, lease_until__isnull=_is)",
        ),
        (MOVES, DUE),
    ),
    Mutation("claimed: without the lease", "core.queue.due:DueRow.claimed", without("lease_until__isnull"), (MOVES,)),
    Mutation("end: without the claim", ENDING_OF + "END_CLAIMED", swap("Cast.claimed()", ANY_CLAIM), (MOVES, MACHINE)),
    Mutation("bind_run: over another run", BINDING_OF + "bind_run", without("run_key", of="filter"), (MOVES, MACHINE)),
    Mutation("bind_run: to an ended cast", BINDING_OF + "bind_run", without("status__in"), (MOVES, CANCEL)),
    Mutation(
        "find_cast: by its title while the answer may still name the run",
        BINDING_OF + "bind_by_titles",
        swap("TITLE_MAY_TELL", "RUNLESS"),
        (MOVES,),
    ),
    Mutation(
        "find_cast: a run that can't be ours",
        BINDING_OF + "bind_by_titles",
        swap("runtime_of(_cast).may_own(_cast, _seen)", "True"),
        (MOVES,),
    ),
    Mutation("find_cast: one of several tokens", BINDING_OF + "bind_by_titles", swap("len(_x) == 1", "_x"), (MOVES,)),
    Mutation("dispatched: a guess stays", DISPATCHING_OF + "dispatched", drop("correct_run"), (MOVES,)),
    Mutation(
        "run_out: no last look",
        "casts.execution.steps:step",
        swap("_give_up if _asked else run_out(_cast)", "_give_up"),
        (STEPS,),
    ),
    Mutation("observe: after the end", OBSERVING_OF + "_folded", swap("_cast.final", "False"), (MOVES, MACHINE)),
    # Dispatch.
    Mutation(
        "intend: without the claim",
        DISPATCHING_OF + "intend_dispatch",
        swap("_cast.mine()", "Cast.objects.filter(pk=_cast.pk)"),
        (MOVES, CANCEL, MACHINE),
    ),
    Mutation("intend: in any status", DISPATCHING_OF + "intend_dispatch", without("status"), (MOVES, CANCEL, MACHINE)),
    Mutation(
        "intend: with a run already", DISPATCHING_OF + "intend_dispatch", without("run_key"), (MOVES, CANCEL, MACHINE)
    ),
    Mutation(
        "intend: though cancelled", DISPATCHING_OF + "intend_dispatch", without("cancel_requested_at"), (STEPS, CANCEL)
    ),
    # Cancel.
    Mutation("cancel: at once though sent", ENDING_OF + "END_UNSENT", without("dispatch_started_at"), (CANCEL,)),
    Mutation("cancel: an ended cast", ENDING_OF + "cancel", without("status__in"), (CANCEL, MACHINE)),
    Mutation("cancel: again and again", ENDING_OF + "cancel", without("cancel_requested_at", of="filter"), (CANCEL,)),
    Mutation("cancel: after the run's end", ENDING_OF + "cancel", without("run_finished_at"), (CANCEL,)),
    Mutation(
        "request_cancel: over the first reason",
        ENDING_OF + "request_cancel",
        without("cancel_requested_at", of="filter"),
        (CANCEL, STEPS),
    ),
    # Money.
    Mutation("hold: without the room", BUDGET_OF + "ROOM", without("cap_cents__gte"), (SCOPES, MACHINE)),
    Mutation(
        "hold: look, then take",
        BUDGET_OF + "HOLD",
        swap(
            "_rows.filter(ROOM, OF_MONTH, scope=_scope)",
            "_rows.filter(pk__in=_rows.filter(ROOM, OF_MONTH, scope=_scope))",
        ),
        (RACES,),
        postgres=True,
    ),
    Mutation(
        "hold: the account's cap alone",
        BUDGET_OF + "hold_all",
        swap("_own.has_inner", "False"),
        (SCOPES, MACHINE),
    ),
    Mutation(
        "round: one more than may be open", "accounts.open_casts:add", swap("_limit - _more", "_limit - 1"), (ROUNDS,)
    ),
    Mutation("round: a cap counts all", BUDGET_OF + "_held_within", swap("_one.concerns(_period)", "True"), (ROUNDS,)),
    Mutation(
        "round: of unlike limits",
        "casts.casting:those_of_one_kind",
        swap("kind_of(_one) != kind_of(_first)", "False"),
        (ROUNDS,),
    ),
    Mutation(
        "round: a failure for all",
        "casts.casting:accept_all",
        swap("Accepted(_one.body) if _place in _together else _alone", "Accepted(_one.body)"),
        (ROUNDS,),
    ),
    Mutation(
        "settle: the account's counter alone",
        BUDGET_OF + "SETTLE_WITHIN",
        swap("_rows.filter(OF_MONTH, WITHIN)", "_rows.filter(OF_MONTH, WITHIN, ref='-')"),
        (SCOPES, MACHINE),
    ),
    Mutation(
        "settle: forgets the rest", BUDGET_OF + "settle", swap("_taken < _held or not _moves", "not _moves"), (LEDGER,)
    ),
    Mutation("end: settles nothing", ENDING_OF + "_end", drop("settle"), (MOVES,)),
    Mutation(
        "open_month: not all at once",
        BUDGET_OF + "open_month",
        swap("transaction.atomic()", "__import__('contextlib').nullcontext()"),
        (SCOPES,),
    ),
    Mutation(
        "database: two settlements", LEDGER_OF + "Migration", swap("('cast_id',)", "('cast_id', 'kind')"), (LEDGER,)
    ),
    Mutation(
        "database: more than was held",
        LEDGER_OF + "Migration",
        swap("('cents__lte', models.F('hold_cents'))", "('cents__gte', 0)"),
        (LEDGER,),
    ),
    Mutation(
        "database: a ledger that changes",
        LEDGER_OF + "REFUSE",
        reword("BEFORE UPDATE ON accounts_ledgerentry", "BEFORE UPDATE ON accounts_apikey"),
        (LEDGER,),
    ),
    # Credit.
    Mutation("credit: without the room", CREDIT_OF + "ROOM", without("cap_cents__gte"), (CREDIT, MACHINE)),
    Mutation(
        "hold: without credit",
        BUDGET_OF + "hold_all",
        swap("_account.billed and _cents > 0", "False"),
        (CREDIT, MACHINE),
    ),
    Mutation(
        "hold: credit for what is free",
        BUDGET_OF + "hold_all",
        swap("_account.billed and _cents > 0", "_account.billed"),
        (CREDIT,),
    ),
    Mutation(
        "settle: forgets the credit",
        BUDGET_OF + "SETTLE_ON_CREDIT",
        swap("_own | credit.OF_ACCOUNT", "_own | (credit.OF_ACCOUNT & _own)"),
        (CREDIT, MACHINE),
    ),
    Mutation("book: without waiting", CREDIT_OF + "book", without("lock"), (CREDIT,), postgres=True),
    Mutation("credit: low at every hold", CREDIT_OF + "_passed", swap("_a < _mark <= _b", "_a < _mark"), (CREDIT,)),
    Mutation(
        "database: credit that changes",
        "accounts.migrations.0014_credit:REFUSE",
        reword("BEFORE UPDATE ON accounts_credit", "BEFORE UPDATE ON accounts_apikey"),
        (LEDGER,),
    ),
    Mutation(
        "callbacks: of money for every key",
        "casts.callbacks.views:check_types",
        drop("require"),
        ("tests/casts/callbacks/test_account_events.py",),
    ),
    # Idempotency.
    Mutation(
        "once: keys are not unique",
        "casts.migrations.0003_idempotency_and_retry:Migration",
        swap("[models.UniqueConstraint(fields=_fields, name='one_answer_per_key')]", "[]"),
        (ONCE, RACES),
    ),
    Mutation(
        "once: the record in a transaction of its own",
        "casts.casting:store",
        before_its_transaction("claim"),
        (ONCE, RACES),
    ),
    Mutation(
        "once: any payload",
        ONCE_OF + "find_answer",
        swap("_record.fingerprint != _once.fingerprint", "False"),
        (ONCE, MACHINE),
    ),
    Mutation("once: for ever", ONCE_OF + "find_answer", swap("_record.created_at <= _then", "False"), (ONCE, MACHINE)),
    Mutation(
        "once: of any account",
        ONCE_OF + "find_answer",
        swap(
            "ANSWERED.first(account_id=_account, route=_route, key=_key)",
            "IdempotencyRecord.objects.filter(route=_route, key=_key).first()",
        ),
        (ONCE,),
    ),
    Mutation(
        "once: a twin waits for ever",
        ONCE_OF + "claim",
        swap("wait_for_locks(_ms)", "wait_for_locks(9000)"),
        (RACES,),
        postgres=True,
    ),
    # Slots.
    Mutation(
        "slots: nobody waits", DISPATCHING_OF + "intend_dispatch", swap("slots.wait_of(_cast)", "None"), (LINE, MACHINE)
    ),
    Mutation("slots: without the spell's lock", SLOTS_OF + "lock", drop("Spell"), (RACES,), postgres=True),
    Mutation("slots: without the account's lock", SLOTS_OF + "lock", drop("Account"), (RACES,), postgres=True),
    Mutation("slots: no turns", DISPATCHING_OF + "intend_dispatch", drop("took"), (LINE,)),
    Mutation(
        "slots: crowded accounts are in the way",
        SLOTS_OF + "position",
        swap("_one not in _full and _one != _own", "_one != _own"),
        (LINE,),
    ),
    Mutation("slots: nobody is woken", ENDING_OF + "_end", drop("offer_slot"), (LINE,)),
    Mutation("slots: a turn wakes nobody", DISPATCHING_OF + "intend_dispatch", drop("offer_slot"), (LINE,)),
    # Who may read a cast.
    Mutation(
        "may_read: without the scope",
        ACCESS_OF + "may_read",
        swap('"casts:read" in _scopes and _serves', "_serves"),
        (READERS, CONTENTS),
    ),
    Mutation(
        "serves: any spell", ACCESS_OF + "serves", swap("_same and _key.allows_spell(_about)", "_same"), (READERS,)
    ),
    Mutation(
        "serves: any account",
        ACCESS_OF + "serves",
        swap("_one == _other and _allows", "_allows"),
        (READERS,),
    ),
    Mutation(
        "served_by: any spell",
        ACCESS_OF + "served_by",
        swap("_ours if _key.spell_keys is None else _some", "_ours"),
        (READERS, CONTENTS),
    ),
    Mutation(
        "reach_of_role: viewers read all",
        ACCESS_OF + "reach_of_role",
        swap("_role.reads_contents", "True"),
        (READERS,),
    ),
    Mutation(
        "reach_of_user: staff is enough",
        ACCESS_OF + "reach_of_user",
        swap("_user.has_perm(_what)", "_user.is_staff"),
        (READERS,),
    ),
    Mutation(
        "told_to: viewers all",
        "casts.live.frames:Frame.told_to",
        swap("_given is not None and _all", "_given is not None"),
        (READERS,),
    ),
    Mutation(
        "accepted_out: whole",
        "casts.representation:accepted_out",
        swap("_body if _may else _receipt", "_body"),
        (READERS,),
    ),
    Mutation(
        "ended: all of it to every endpoint",
        "casts.callbacks.delivery:ended",
        swap("_endpoint.contents", "True"),
        (CONTENTS,),
    ),
    Mutation(
        "wants: any spell",
        "casts.models.callback:CallbackEndpoint.wants",
        swap("_kind in _kinds and _spell", "_kind in _kinds"),
        (CONTENTS,),
    ),
    # Spells that people bring.
    Mutation(
        "castable_by: another account's spell",
        "casts.casting:castable_by",
        swap("_spell.account_id in (None, _account_id)", "True"),
        (OWNERSHIP,),
    ),
    Mutation(
        "claimed: the spell as it is now",
        "casts.execution.steps:claimed",
        swap("as_accepted(_cast)", "_cast"),
        (AS_ACCEPTED,),
    ),
    Mutation(
        "exclusive: whatever others may have started",
        "github_integration.exclusive:only_new_run",
        swap("rival_of(_cast, _event)", "None"),
        (EXCLUSIVE,),
    ),
    Mutation(
        "exclusive: runs that other casts have",
        "github_integration.exclusive:only_new_run",
        swap("_seen.run_key not in others", "True"),
        (EXCLUSIVE,),
    ),
    Mutation(
        "spell files: keys of others",
        "github_integration.spell_files.applying:check",
        swap("one.table.key in taken", "False"),
        (FILES,),
    ),
    Mutation(
        "spell files: without the claim",
        "github_integration.spell_files.applying:apply",
        swap("not _row.mine().update(looked_at=_now)", "False"),
        (FILES,),
    ),
]
