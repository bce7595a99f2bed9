"""What a billed account has paid for, or was given: one counter, whose cap is the sum of what was booked.

A cast of such an account needs its price in credit as well as under every cap: `accounts.budget` holds it there, and
captures or releases it, with the statements that do so for the month's counter. All in integer cents, which are the
smallest unit of BILLING_CURRENCY.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils.module_loading import import_string

from accounts import events
from accounts.errors import BudgetExceeded
from accounts.models import Account, BudgetPeriod, BudgetScope, Credit, LedgerEntry
from core.db.compiled import Param

logger = logging.getLogger(__name__)

LOW = "credit.low"
CENTS = Param(BudgetPeriod, "held_cents", "cents")
OF_ACCOUNT = Q(
    account=Param(BudgetPeriod, "account_id"), month=BudgetPeriod.ALL_MONTHS, scope=BudgetScope.CREDIT, ref=""
)
ROOM = Q(cap_cents__gte=F("held_cents") + F("captured_cents") + CENTS)


class NotBilled(LookupError):
    """The account has no credit: its casts are not paid for. See `begin_billing`."""


@dataclass(frozen=True)
class CreditState:
    """A billed account's credit, in cents."""

    cap_cents: int  # all that was booked
    held_cents: int
    captured_cents: int
    low_cents: int | None  # below how much of it its owner is told
    refill_cents: int | None  # below how much of it more is asked for

    @property
    def remaining_cents(self) -> int:
        """What may still be held; below zero if money that was spent was taken back."""
        return self.cap_cents - self.held_cents - self.captured_cents


@dataclass(frozen=True)
class Remedy:
    """What is done about a cast that the credit did not pay, in a sentence; in how many seconds to try again."""

    text: str
    seconds: int | None = None


def begin_billing(account: Account) -> None:
    """Have each cast from now on paid for from the account's credit, of which there is none until some is booked.

    What is held already stays as it is. Nothing changes if the account is billed already.
    """
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        BudgetPeriod.objects.get_or_create(
            account_id=account.pk,
            month=BudgetPeriod.ALL_MONTHS,
            scope=BudgetScope.CREDIT,
            ref="",
            defaults={"cap_cents": 0},
        )
        Account.objects.filter(pk=account.pk).update(billed=True)
    account.billed = True


def end_billing(account: Account) -> None:
    """Have casts from now on cost no credit. What is held of it is settled there; what is left of it stays."""
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        Account.objects.filter(pk=account.pk).update(billed=False)
    account.billed = False


def state(account: Account) -> CreditState | None:
    """Return what the account has, None if it is not billed."""
    return state_of(_counter(account.pk)) if account.billed else None


def book(account_id: int, kind: str, cents: int, source: str, *, note: str = "", by: str = "") -> bool:
    """Add to a billed account's credit, or take from it, in one transaction (the caller's, if there is one).

    `source` says what for, such as the payment's id. Return False, and change nothing, if it was booked before or if
    there are no cents. Raise NotBilled. Nothing that is held or spent is touched when credit falls below it.
    """
    if not cents:
        return False
    with transaction.atomic():
        counter = _counter(account_id, lock=True)
        # Whoever books for this account waits at its counter, so nobody books this meanwhile.
        if (before := Credit.objects.filter(source=source).first()) is not None:
            if (before.account_id, before.kind, before.cents) != (account_id, kind, cents):
                logger.error("booked before, and otherwise", extra={"source": source, "account": account_id})
            return False
        Credit.objects.create(account_id=account_id, kind=kind, cents=cents, source=source, note=note, by=by)
        BudgetPeriod.objects.filter(pk=counter.pk).update(cap_cents=F("cap_cents") + cents)
        now = state_of(_counter(account_id))
        _tell_if_low(account_id, now)
        _ask_if_short(account_id, now)
    return True


def set_low(account_id: int, cents: int | None) -> None:
    """Say below how many cents the owner is told that the credit is low; None: never. Raise NotBilled."""
    with transaction.atomic():
        _tell_if_low(account_id, _marked(account_id, low_cents=cents))


def set_refill(account_id: int, cents: int | None) -> None:
    """Say below how many cents those whom CREDIT_LOW names are asked for more; None: never. Raise NotBilled."""
    with transaction.atomic():
        _ask_if_short(account_id, _marked(account_id, refill_cents=cents))


def _marked(account_id: int, **marks: int | None) -> CreditState:
    counter = _counter(account_id, lock=True)
    BudgetPeriod.objects.filter(pk=counter.pk).update(**marks)
    return state_of(_counter(account_id))


def taken(counter: BudgetPeriod, cents: int) -> None:
    """Tell if a hold of `cents` has brought the credit below one of its marks; `counter` is as it left it."""
    left = state_of(counter)
    # Only the hold that falls below a mark tells.
    if _passed(left.low_cents, left.remaining_cents, cents):
        _tell_low(counter.account_id, left)
    if _passed(left.refill_cents, left.remaining_cents, cents):
        _ask_for_more(counter.account_id, left)


def _passed(mark: int | None, remaining: int, taken: int) -> bool:
    return mark is not None and remaining < mark <= remaining + taken


def recounted(account_id: int) -> tuple[int, int, int]:
    """Return (booked, held, captured) as the entries add up. Exact only while the counter's row is locked."""
    booked = Credit.objects.filter(account=account_id).aggregate(sum=Sum("cents", default=0))["sum"]
    entries = LedgerEntry.objects.filter(period__account=account_id, on_credit=True)
    sums = dict(entries.order_by().values_list("kind").annotate(Sum("cents")))
    kinds = LedgerEntry.Kind
    captured = sums.get(kinds.CAPTURE, 0)
    return booked, sums.get(kinds.HOLD, 0) - captured - sums.get(kinds.RELEASE, 0), captured


def state_of(counter: BudgetPeriod) -> CreditState:
    assert counter.cap_cents is not None  # a constraint of the database
    counted = (counter.cap_cents, counter.held_cents, counter.captured_cents)
    return CreditState(*counted, low_cents=counter.low_cents, refill_cents=counter.refill_cents)


def _counter(account_id: int, *, lock: bool = False) -> BudgetPeriod:
    counters = BudgetPeriod.objects.filter(scope=BudgetScope.CREDIT, month=BudgetPeriod.ALL_MONTHS)
    try:
        return (counters.select_for_update() if lock else counters).get(account=account_id)
    except BudgetPeriod.DoesNotExist:
        raise NotBilled(f"Account {account_id} has no credit.") from None


def _tell_if_low(account_id: int, now: CreditState) -> None:
    if now.low_cents is not None and now.remaining_cents < now.low_cents:
        _tell_low(account_id, now)


def _ask_if_short(account_id: int, now: CreditState) -> None:
    if now.refill_cents is not None and now.remaining_cents < now.refill_cents:
        _ask_for_more(account_id, now)


def _tell_low(account_id: int, now: CreditState) -> None:
    """Tell the owner, once until something is booked."""
    newest = Credit.objects.filter(account=account_id).order_by("-id").values_list("id", flat=True).first()
    facts: dict[str, Any] = {
        "remaining_cents": now.remaining_cents,
        "low_cents": now.low_cents,
        "cap_cents": now.cap_cents,
        "held_cents": now.held_cents,
        "captured_cents": now.captured_cents,
    }
    events.tell(account_id, LOW, f"{LOW}:{now.low_cents}:{newest or 0}", facts)


def _ask_for_more(account_id: int, now: CreditState) -> None:
    for path in settings.CREDIT_LOW:
        import_string(path)(account_id, now.remaining_cents)


def spent(account_id: int, cents: int) -> BudgetExceeded:
    """Return what is to be raised when the credit is too little; it is locked, or nothing of it is held."""
    now = state_of(_counter(account_id))
    left = f"{now.remaining_cents} {'is' if now.remaining_cents == 1 else 'are'} left"
    fix = "Top up: GET /api/v1/billing says how." if settings.BILLING else "Ask the operator for more."
    return BudgetExceeded(
        f"This cast needs {cents} cent{'' if cents == 1 else 's'} of the account's credit, of which {left}. {fix}",
        scope=BudgetScope.CREDIT.value,
        cap_cents=now.cap_cents,
        held_cents=now.held_cents,
        captured_cents=now.captured_cents,
        required_cents=cents,
        resets_at=None,  # no month's end brings more
    )


def with_remedy(refused: BudgetExceeded, account_id: int) -> BudgetExceeded:
    """Have those whom CREDIT_REFUSED names do something about a refusal, and return it with what they say.

    Call it when the transaction that was refused is over: what they do is to stay.
    """
    if refused.extra["scope"] != BudgetScope.CREDIT:
        return refused
    for path in settings.CREDIT_REFUSED:
        remedy: Remedy | None = import_string(path)(account_id, refused.extra["required_cents"])
        if remedy is not None:
            headers = {} if remedy.seconds is None else {"Retry-After": str(remedy.seconds)}
            return BudgetExceeded(f"{refused} {remedy.text}", headers=headers, **refused.extra)
    return refused
