"""Changing an account's caps, over the API, on its page and in the admin; each with its entry in the audit log."""

from __future__ import annotations

from django.db import transaction

from accounts import budget
from accounts.audit import log
from accounts.errors import KeyNotFound
from accounts.models import Account, BudgetScope
from accounts.principals import Principal
from casts.errors import SpellNotFound
from casts.models import Spell

MOST_CENTS = 2**62


def change(who: Principal, account: Account, scope: str, ref: str, *, cents: int | None) -> None:
    """Set a cap of the account, of a key (`ref`: its id) or of a spell (its key); None lifts it.

    Raise KeyNotFound or SpellNotFound; a cap whose key or spell is gone can still be lifted.
    """
    lifts = cents is None and account.caps.filter(scope=scope, ref=ref).exists()
    if scope == BudgetScope.KEY and not lifts and not account.api_keys.filter(pk=int(ref)).exists():
        raise KeyNotFound(f"There is no API key {ref} in this account.")
    if scope == BudgetScope.SPELL and not lifts and not Spell.objects.seen_by(account.pk).filter(key=ref).exists():
        raise SpellNotFound(f"There is no spell {ref!r}.")
    put(who, account, scope, ref, cents=cents)


def put(who: Principal, account: Account, scope: str, ref: str, *, cents: int | None) -> None:
    """Likewise, of what the caller knows to be there, or to have a cap already."""
    with transaction.atomic():
        before = budget.cap_of(account, scope=scope, ref=ref)
        budget.set_cap(account, cap_cents=cents, scope=scope, ref=ref)
        log.record(
            who,
            "budget.set_cap",
            ("cap", ":".join(filter(None, [scope, ref]))),
            account_id=account.pk,
            before={"cap_cents": before},
            after={"cap_cents": cents},
        )
