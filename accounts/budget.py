"""Moving money: hold at acceptance, then capture or release, each once. All in integer cents.

Every function runs inside its caller's transaction, so that a cast and its money move together or not at all.
"""

import datetime as dt
import uuid

from django.db.models import F, Q
from django.utils import timezone

from accounts.errors import BudgetExceeded
from accounts.models import Account, BudgetPeriod, LedgerEntry, month_of

Kind = LedgerEntry.Kind


def period_of(account: Account, moment: dt.datetime) -> BudgetPeriod:
    """Return the account's period for `moment`'s month, made with the account's cap if it is the first asked for."""
    return BudgetPeriod.objects.get_or_create(
        account=account, month=month_of(moment), defaults={"cap_cents": account.monthly_cap_cents}
    )[0]


def hold(account: Account, *, cast_id: uuid.UUID, cents: int) -> LedgerEntry:
    """Reserve `cents` for a cast in this month; raise BudgetExceeded if the cap would be passed.

    One conditional UPDATE decides, so two casts can never both take the last cents.
    """
    period = period_of(account, timezone.now())
    room = Q(cap_cents__isnull=True) | Q(cap_cents__gte=F("held_cents") + F("captured_cents") + cents)
    # A spell that costs nothing passes under any cap but 0, which means "nothing at all".
    room &= ~Q(cap_cents=0)
    if not BudgetPeriod.objects.filter(room, pk=period.pk).update(held_cents=F("held_cents") + cents):
        period.refresh_from_db()
        raise BudgetExceeded(
            f"This cast needs {cents} cents and {period.remaining_cents} of this month's cap of "
            f"{period.cap_cents} are left. Ask for a higher cap, or wait until {period.resets_at:%Y-%m-%d}.",
            headers={"Retry-After": str(int((period.resets_at - timezone.now()).total_seconds()) + 1)}
            if period.cap_cents and cents <= period.cap_cents
            else None,
            scope="account",
            cap_cents=period.cap_cents,
            held_cents=period.held_cents,
            captured_cents=period.captured_cents,
            required_cents=cents,
            resets_at=period.resets_at.isoformat(),
        )
    return LedgerEntry.objects.create(period=period, cast_id=cast_id, kind=Kind.HOLD, cents=cents)


def settle(cast_id: uuid.UUID, *, capture: bool) -> LedgerEntry:
    """End a cast's hold: take the money or give it back, booked to the month that held it.

    A second settlement of one cast is refused by the database (IntegrityError): whoever ends a cast has already won
    the guarded UPDATE, so it is a bug, not a race.
    """
    held = LedgerEntry.objects.get(cast_id=cast_id, kind=Kind.HOLD)
    changes = {"held_cents": F("held_cents") - held.cents}
    if capture:
        changes["captured_cents"] = F("captured_cents") + held.cents
    BudgetPeriod.objects.filter(pk=held.period_id).update(**changes)
    kind = Kind.CAPTURE if capture else Kind.RELEASE
    return LedgerEntry.objects.create(period_id=held.period_id, cast_id=cast_id, kind=kind, cents=held.cents)


def current(account: Account) -> BudgetPeriod:
    """Return this month's period."""
    return period_of(account, timezone.now())
