"""Moving money: hold at acceptance, then capture or release, each once. All in integer cents.

Every function that moves money runs inside its caller's transaction, so that a cast and its money move together or
not at all. The account's counter of open casts is always written first, then its own of the month: their row locks make
everything else of the account wait, and the other scopes follow in a fixed order. The credit of a billed account is
written with the month's counter: whatever writes both has the count of open casts locked, and so waits for no other.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from accounts import credit, events, open_casts
from accounts.errors import BudgetExceeded
from accounts.models import Account, BudgetCap, BudgetPeriod, BudgetScope, LedgerEntry, month_of
from core.db.compiled import Insert, OneOf, Param, Params, Select, Update

Kind = LedgerEntry.Kind
THRESHOLDS = (50, 80, 100)  # percent of a cap
# The counters that a cast moves: the account's, and the key's and the spell's where a cap is set (INNER).
OF_MONTH = Q(account=Param(BudgetPeriod, "account_id"), month=Param(BudgetPeriod, "month"))
WITHIN = Q(scope=BudgetScope.KEY, ref=Param(BudgetPeriod, "ref", "key")) | Q(
    scope=BudgetScope.SPELL, ref=Param(BudgetPeriod, "ref", "spell")
)
INNER = Select(
    lambda: BudgetPeriod.objects.filter(
        OF_MONTH,
        Q(OneOf("ref", Params(BudgetPeriod, "ref", "keys")), scope=BudgetScope.KEY)
        | Q(OneOf("ref", Params(BudgetPeriod, "ref", "spells")), scope=BudgetScope.SPELL),
    ).order_by("scope", "ref")
)
CENTS = Param(BudgetPeriod, "held_cents", "cents")
# A spell that costs nothing passes under any cap but 0, which means "nothing at all".
ROOM = Q(cap_cents=None) | Q(cap_cents__gt=0, cap_cents__gte=F("held_cents") + F("captured_cents") + CENTS)
HOLD = Update(
    lambda: BudgetPeriod.objects.filter(ROOM, OF_MONTH, scope=BudgetScope.ACCOUNT), held_cents=F("held_cents") + CENTS
)
# For a billed account in one statement: its credit, which is another row of the table, is held with the month's money.
HOLD_ON_CREDIT = Update(
    lambda: BudgetPeriod.objects.filter(
        (ROOM & OF_MONTH & Q(scope=BudgetScope.ACCOUNT)) | (credit.ROOM & credit.OF_ACCOUNT)
    ),
    held_cents=F("held_cents") + CENTS,
)
HOLD_WITHIN = Update(
    lambda: BudgetPeriod.objects.filter(ROOM, pk=Param(BudgetPeriod, "id")), held_cents=F("held_cents") + CENTS
)
ADD_ENTRY = Insert(LedgerEntry)
HELD = Select(
    lambda: (
        LedgerEntry.objects.filter(cast_id=Param(LedgerEntry, "cast_id"), kind=Kind.HOLD)
        .select_related("period")
        .order_by()
    )
)
SETTLED = {
    "held_cents": F("held_cents") - Param(BudgetPeriod, "held_cents", "held"),
    "captured_cents": F("captured_cents") + Param(BudgetPeriod, "captured_cents", "captured"),
}
SETTLE = Update(lambda: BudgetPeriod.objects.filter(pk=Param(BudgetPeriod, "id")), **SETTLED)
SETTLE_ON_CREDIT = Update(
    lambda: BudgetPeriod.objects.filter(Q(pk=Param(BudgetPeriod, "id")) | credit.OF_ACCOUNT), **SETTLED
)
SETTLE_WITHIN = Update(lambda: BudgetPeriod.objects.filter(OF_MONTH, WITHIN), **SETTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What one cast asks to be reserved: `cents`, in the month of `at`."""

    cast_id: uuid.UUID
    cents: int
    at: dt.datetime
    api_key_id: str = ""
    spell_key: str = ""

    def concerns(self, period: BudgetPeriod) -> bool:
        """Return whether this counter, of the account and the month, counts it."""
        own = {BudgetScope.KEY: self.api_key_id, BudgetScope.SPELL: self.spell_key}
        return own.get(BudgetScope(period.scope), period.ref) == period.ref


def hold(
    account: Account,
    *,
    cast_id: uuid.UUID,
    cents: int,
    at: dt.datetime | None = None,
    api_key_id: object = "",
    spell_key: str = "",
) -> LedgerEntry:
    """Reserve `cents` for a cast accepted `at`, and count it as open. Raise what `hold_all` does."""
    at, key = at or timezone.now(), str(api_key_id)
    [entry] = hold_all(account, [Hold(cast_id=cast_id, cents=cents, at=at, api_key_id=key, spell_key=spell_key)])
    return entry


def hold_all(account: Account, holds: Sequence[Hold]) -> list[LedgerEntry]:
    """Reserve what casts of one month ask for, in this order, and count them as open: all of them.

    Raise TooManyOpenCasts, or BudgetExceeded if a cap of any scope would be passed, or a billed account's credit: then
    one of several may still be possible alone. One conditional UPDATE per counter decides, so two can never both take
    the last cents. As no price is below nothing, all of them fit exactly if each fits after those before it.
    """
    [month] = {month_of(one.at) for one in holds}
    cents = sum(one.cents for one in holds)
    of_month: dict[str, Any] = {"account_id": account.pk, "month": month}
    open_casts.add(account, len(holds))
    # What costs nothing needs no credit, also where there is less than none.
    on_credit = account.billed and cents > 0
    held = {period.scope: period for period in (HOLD_ON_CREDIT if on_credit else HOLD).rows(cents=cents, **of_month)}
    if BudgetScope.ACCOUNT not in held:
        # Either the month has no counter yet, or the cap would be passed.
        open_month(account, month)
        if not (again := HOLD.rows(cents=cents, **of_month)):
            raise _exceeded(BudgetPeriod.objects.get(account=account, month=month, scope=BudgetScope.ACCOUNT), cents)
        held[BudgetScope.ACCOUNT] = again[0]
    if on_credit and BudgetScope.CREDIT not in held:
        raise credit.spent(account.pk, cents)
    own = held[BudgetScope.ACCOUNT]
    own.held_cents -= cents
    # Read after the account's row is locked: a cap that is set meanwhile waits for us, or we see it.
    inner = _held_within(holds, of_month) if own.has_inner else []
    if on_credit:
        held[BudgetScope.CREDIT].held_cents -= cents
    entries = []
    for one in holds:
        for period in (own, *inner):
            if one.concerns(period):
                before = period.used_cents
                period.held_cents += one.cents
                _tell_thresholds(period, before=before)
        if paid := on_credit and one.cents > 0:
            held[BudgetScope.CREDIT].held_cents += one.cents
            credit.taken(held[BudgetScope.CREDIT], one.cents)
        entries.append(_held(one, own, on_credit=paid))
    ADD_ENTRY.all(entries)
    return entries


def _held_within(holds: Sequence[Hold], of_month: dict[str, Any]) -> list[BudgetPeriod]:
    """Hold in the counters within the account's, and return them as they were before."""
    keys, spells = {one.api_key_id for one in holds}, {one.spell_key for one in holds}
    inner = INNER.all(keys=sorted(keys), spells=sorted(spells), **of_month)
    for period in inner:
        cents = sum(one.cents for one in holds if one.concerns(period))
        if not HOLD_WITHIN.run(cents=cents, id=period.pk):
            raise _exceeded(period, cents)
    return inner


def _held(one: Hold, period: BudgetPeriod, *, on_credit: bool) -> LedgerEntry:
    return LedgerEntry(
        period=period,
        cast_id=one.cast_id,
        kind=Kind.HOLD,
        cents=one.cents,
        hold_cents=one.cents,
        api_key_id=one.api_key_id,
        spell_key=one.spell_key,
        booked_on=one.at.astimezone(dt.UTC).date(),
        on_credit=on_credit,
    )


def settle(cast_id: uuid.UUID, *, capture_cents: int | None) -> None:
    """End a cast's hold: take `capture_cents` of it (None: all) and give the rest back, in the month that held it.

    The cast is no longer counted as open.

    The database refuses a second settlement of one cast, and a capture above its hold (IntegrityError). The caller has
    won the guarded UPDATE that ends the cast, so that would be a bug, not a race.
    """
    held = HELD.first(cast_id=cast_id)
    if held is None:
        raise LedgerEntry.DoesNotExist(f"Nothing is held for {cast_id}.")
    capture_cents = held.cents if capture_cents is None else capture_cents
    open_casts.remove(held.period.account_id)
    settled = {"held": held.cents, "captured": capture_cents}
    if held.on_credit:
        of_account = {"account_id": held.period.account_id}
        settling = SETTLE_ON_CREDIT.rows(id=held.period_id, **of_account, **settled)
    else:
        settling = SETTLE.rows(id=held.period_id, **settled)
    [period] = [period for period in settling if period.pk == held.period_id]
    if period.has_inner:
        # The account's row is locked by now, so no other transaction writes these.
        within: dict[str, Any] = {"account_id": period.account_id, "month": period.month}
        SETTLE_WITHIN.run(**within, key=held.api_key_id, spell=held.spell_key, **settled)
    moves = [(Kind.CAPTURE, capture_cents)] if capture_cents else []
    # Also of nothing, if nothing was held: every hold has a settlement.
    if capture_cents < held.cents or not moves:
        moves.append((Kind.RELEASE, held.cents - capture_cents))
    for number, (kind, cents) in enumerate(moves):
        ADD_ENTRY.run(
            LedgerEntry(
                period=period,
                cast_id=cast_id,
                kind=kind,
                cents=cents,
                hold_cents=held.cents,
                settles=number == 0,
                api_key_id=held.api_key_id,
                spell_key=held.spell_key,
                booked_on=held.booked_on,
                on_credit=held.on_credit,
            )
        )


def open_month(account: Account, month: dt.date) -> None:
    """Create the month's counters, for the account and for each cap within it, unless they exist.

    All at once: a hold that found the account's but not yet a cap's would not be counted against that cap. And only
    once: if a cap was lifted while its counter was created again, a counter would be left that no cast moves.
    """
    own = {"account": account, "month": month, "scope": BudgetScope.ACCOUNT, "ref": ""}
    if BudgetPeriod.objects.filter(**own).exists():
        return
    with transaction.atomic():
        # A change of a cap locks this row too, so none changes between our reading it and our commit.
        cap = _locked(account).monthly_cap_cents
        caps = list(BudgetCap.objects.filter(account=account))
        _, made = BudgetPeriod.objects.get_or_create(**own, defaults={"cap_cents": cap, "has_inner": bool(caps)})
        for inner in caps if made else ():
            BudgetPeriod.objects.create(
                account=account, month=month, scope=inner.scope, ref=inner.ref, cap_cents=inner.cap_cents
            )


def _locked(account: Account) -> Account:
    return Account.objects.select_for_update(no_key=True).get(pk=account.pk)


def cap_of(account: Account, *, scope: str = BudgetScope.ACCOUNT, ref: str = "") -> int | None:
    """Return a cap in cents, None if there is none."""
    if scope == BudgetScope.ACCOUNT:
        return Account.objects.values_list("monthly_cap_cents", flat=True).get(pk=account.pk)
    return account.caps.filter(scope=scope, ref=ref).values_list("cap_cents", flat=True).first()


def set_cap(account: Account, *, cap_cents: int | None, scope: str = BudgetScope.ACCOUNT, ref: str = "") -> None:
    """Change a cap, from now on; None lifts it. What is held above it stays held; only new casts are refused."""
    month = month_of(timezone.now())
    with transaction.atomic():
        # The account first, as everywhere: everything else of it waits for its row.
        _locked(account)
        open_month(account, month)
        own = BudgetPeriod.objects.select_for_update().get(account=account, month=month, scope=BudgetScope.ACCOUNT)
        if scope == BudgetScope.ACCOUNT:
            # Both: the account has the cap of the months to come, the counter that of this one.
            Account.objects.filter(pk=account.pk).update(monthly_cap_cents=cap_cents)
            BudgetPeriod.objects.filter(pk=own.pk).update(cap_cents=cap_cents)
            account.monthly_cap_cents = cap_cents
            return
        if cap_cents is None:
            BudgetCap.objects.filter(account=account, scope=scope, ref=ref).delete()
            BudgetPeriod.objects.filter(account=account, month=month, scope=scope, ref=ref).delete()
            return
        BudgetCap.objects.update_or_create(account=account, scope=scope, ref=ref, defaults={"cap_cents": cap_cents})
        BudgetPeriod.objects.filter(pk=own.pk).update(has_inner=True)
        # The account's row is locked, so no cast of it is accepted or ended between the sum and the insert.
        held, captured = recounted(own, scope, ref)
        BudgetPeriod.objects.update_or_create(
            account=account,
            month=month,
            scope=scope,
            ref=ref,
            defaults={"cap_cents": cap_cents, "held_cents": held, "captured_cents": captured},
        )


def recounted(account_period: BudgetPeriod, scope: str = BudgetScope.ACCOUNT, ref: str = "") -> tuple[int, int]:
    """Return (held, captured) as the ledger's entries of one month add up, for the account or a scope within it."""
    entries = LedgerEntry.objects.filter(period=account_period)
    if scope == BudgetScope.KEY:
        entries = entries.filter(api_key_id=ref)
    elif scope == BudgetScope.SPELL:
        entries = entries.filter(spell_key=ref)
    sums = dict(entries.order_by().values_list("kind").annotate(Sum("cents")))
    captured = sums.get(Kind.CAPTURE, 0)
    return sums.get(Kind.HOLD, 0) - captured - sums.get(Kind.RELEASE, 0), captured


def current(account: Account) -> BudgetPeriod:
    month = month_of(timezone.now())
    open_month(account, month)
    return BudgetPeriod.objects.get(account=account, month=month, scope=BudgetScope.ACCOUNT)


def _exceeded(period: BudgetPeriod, cents: int) -> BudgetExceeded:
    whose = {BudgetScope.ACCOUNT: "the account", BudgetScope.KEY: "this API key", BudgetScope.SPELL: "this spell"}
    headers = {}
    if period.cap_cents and cents <= period.cap_cents:  # otherwise next month's cap is too low as well
        headers["Retry-After"] = str(int((period.resets_at - timezone.now()).total_seconds()) + 1)
    needs = f"{cents} cent{'' if cents == 1 else 's'}"
    fix = f"Ask for a higher cap, or wait until {period.resets_at:%Y-%m-%d}." if headers else "Ask for a higher cap."
    return BudgetExceeded(
        f"This cast needs {needs}. Of the {period.cap_cents} that {whose[BudgetScope(period.scope)]} may spend this "
        f"month, {period.remaining_cents} are left. {fix}",
        headers=headers,
        scope=period.scope,
        cap_cents=period.cap_cents,
        held_cents=period.held_cents,
        captured_cents=period.captured_cents,
        required_cents=cents,
        resets_at=period.resets_at.isoformat().replace("+00:00", "Z"),
    )


def _tell_thresholds(period: BudgetPeriod, *, before: int) -> None:
    if not period.cap_cents:
        return
    for percent in THRESHOLDS:
        limit = period.cap_cents * percent
        # Only the hold that passes a threshold records it; the unique key makes it once a month.
        if before * 100 < limit <= period.used_cents * 100:
            events.tell(
                period.account_id,
                "budget_threshold",
                f"budget:{period.month:%Y-%m}:{period.scope}:{period.ref}:{percent}",
                {
                    "percent": percent,
                    "month": f"{period.month:%Y-%m}",
                    "scope": period.scope,
                    "ref": period.ref,
                    "cap_cents": period.cap_cents,
                    "held_cents": period.held_cents,
                    "captured_cents": period.captured_cents,
                },
            )
