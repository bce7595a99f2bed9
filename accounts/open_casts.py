"""How many casts an account has open, counted exactly, and how many it may have.

Counted where the ledger is written, in the same transaction: a hold opens a cast, its settlement ends it. The counter's
row is locked before the counters of money; see "Lock order" in docs/explanation/architecture.md.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.db.models import Count, F, Q

from accounts.errors import TooManyOpenCasts
from accounts.models import Account, LedgerEntry, OpenCasts
from core.db.compiled import Param, Update

logger = logging.getLogger(__name__)

RETRY_AFTER = 30  # seconds; nobody knows when one of a thousand casts ends
OF_ACCOUNT = Q(account=Param(OpenCasts, "account", "account_id"))
OPENED = Update(
    lambda: OpenCasts.objects.filter(OF_ACCOUNT, number__lte=Param(OpenCasts, "number", "before")),
    number=F("number") + Param(OpenCasts, "number", "more"),
)
ENDED = Update(lambda: OpenCasts.objects.filter(OF_ACCOUNT, number__gt=0), number=F("number") - 1)


def most(account: Account) -> int:
    return settings.ACCOUNT_MAX_OPEN if account.max_open is None else account.max_open


def add(account: Account, more: int = 1) -> None:
    """Count so many more; raise TooManyOpenCasts, and count none, if the account may not have all of them."""
    limit = most(account)
    counted = {"account_id": account.pk, "before": limit - more, "more": more}
    if OPENED.run(**counted):
        return
    OpenCasts.objects.get_or_create(account=account)  # the account's first cast
    if not OPENED.run(**counted):
        raise TooManyOpenCasts(
            f"This account has as many casts open as it may: {limit}. Wait until some have ended, or cancel some.",
            headers={"Retry-After": str(RETRY_AFTER)},
            max_open=limit,
        )


def remove(account_id: int) -> None:
    if not ENDED.run(account_id=account_id):
        # A bug, which `verifyledger` shows; the cast must end all the same.
        logger.error("a cast ended that was not counted as open", extra={"account": account_id})


def of(account: Account) -> int:
    found = OpenCasts.objects.filter(account=account).values_list("number", flat=True).first()
    return found or 0


def recounted(account_id: int) -> int:
    """Return how many casts are open by the ledger. Exact only while the counter's row is locked."""
    entries = LedgerEntry.objects.filter(period__account=account_id)
    counts = entries.aggregate(
        held=Count("pk", filter=Q(kind=LedgerEntry.Kind.HOLD)), settled=Count("pk", filter=Q(settles=True))
    )
    return int(counts["held"] - counts["settled"])
