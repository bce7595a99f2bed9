"""Limits on how many casts run at once: per spell (shared by all accounts) and per account.

A cast that is dispatched, and has not ended, holds a slot. One that finds none waits in `queued`. The slots of a spell
go round the accounts that wait for it, the longest unserved first; within an account, first come first served. A place
in line that can't be used, because its account is at its own limit, holds up nobody behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from accounts.models import Account
from casts.models import OPEN, Cast, CastStatus, SlotOrder, Spell

# Not those that wait for something else, such as a rate limit's end: a slot would be of no use to them.
IN_LINE = ("accepted", "waiting_for_slot")


@dataclass(frozen=True)
class Wait:
    """Why a cast may not start yet."""

    limit: str  # "spell" or "account"
    position: int  # 1 is next
    max_running: int


def holding() -> QuerySet[Cast]:
    return Cast.objects.filter(status__in=OPEN, dispatch_started_at__isnull=False)


def waiting() -> QuerySet[Cast]:
    return Cast.objects.filter(
        status=CastStatus.QUEUED, status_reason__in=IN_LINE, dispatch_started_at=None, cancel_requested_at=None
    )


def wait_of(cast: Cast) -> Wait | None:
    """Return what a queued cast waits for, None if it may start. Exact only under `lock`."""
    spell, account = cast.spell, cast.account
    if spell.max_running is not None:
        place = position(cast)
        if place > spell.max_running - holding().filter(spell=spell).count():
            return Wait("spell", place, spell.max_running)
    if account.max_running is not None:
        # Earlier casts that wait for a slot of another, crowded spell are not in its way.
        ahead = waiting().filter(Q(spell=spell) | Q(spell__max_running=None), account=account, pk__lt=cast.pk).count()
        if ahead >= account.max_running - holding().filter(account=account).count():
            return Wait("account", ahead + 1, account.max_running)
    return None


def position(cast: Cast) -> int:
    """Return a cast's place in its spell's line, as if every turn were taken in order; 1 is next."""
    line = waiting().filter(spell=cast.spell)
    mine = line.filter(account=cast.account_id, pk__lt=cast.pk).count()
    queues = dict(line.order_by().values_list("account").annotate(n=Count("pk")))
    full = crowded(set(queues) - {cast.account_id})
    served = dict(SlotOrder.objects.filter(spell=cast.spell, account__in=queues).values_list("account", "served_at"))

    def order(account_id: int) -> tuple[bool, object, int]:
        return (account_id in served, served.get(account_id), account_id)

    before: int = sum(
        # An account whose turn comes before mine has had one more when mine comes.
        min(n, mine + (order(account_id) < order(cast.account_id)))
        for account_id, n in queues.items()
        if account_id not in full and account_id != cast.account_id
    )
    return before + mine + 1


def crowded(account_ids: set[int]) -> set[int]:
    limits = dict(
        Account.objects.filter(pk__in=account_ids, max_running__isnull=False).values_list("pk", "max_running")
    )
    counts = dict(holding().filter(account__in=limits).order_by().values_list("account").annotate(n=Count("pk")))
    return {
        account_id for account_id, limit in limits.items() if limit is not None and counts.get(account_id, 0) >= limit
    }


def lock(cast: Cast) -> bool:
    """Queue the starts that share a limit with this cast until the transaction ends; False if it shares none."""
    # Always the spell first, so that two can't wait for each other. NO KEY: the foreign keys of casts that are accepted
    # meanwhile don't wait for it.
    limited = False
    if cast.spell.max_running is not None:
        Spell.objects.select_for_update(no_key=True).get(pk=cast.spell_id)
        limited = True
    if cast.account.max_running is not None:
        Account.objects.select_for_update(no_key=True).get(pk=cast.account_id)
        limited = True
    return limited


def took(cast: Cast) -> None:
    """Note, under `lock`, that the account has had its turn."""
    if cast.spell.max_running is not None:
        SlotOrder.objects.update_or_create(
            spell=cast.spell, account_id=cast.account_id, defaults={"served_at": timezone.now()}
        )


def next_in_line(cast: Cast) -> list[Cast]:
    """Return who may start if this cast's spell or account has a slot left: one for the spell, several for the account.

    Of the account, the first of each spell: the very first may be waiting for a crowded spell.
    """
    found: list[Cast] = []
    if cast.spell.max_running is not None and holding().filter(spell=cast.spell).count() < cast.spell.max_running:
        account_ids = set(waiting().filter(spell=cast.spell).order_by().values_list("account", flat=True).distinct())
        lines = [waiting().filter(spell=cast.spell, account=one) for one in account_ids - crowded(account_ids)]
        found += sorted(first_of_each(lines), key=position)[:1]
    limit = cast.account.max_running
    if limit is not None and holding().filter(account=cast.account_id).count() < limit:
        spell_ids = set(waiting().filter(account=cast.account_id).order_by().values_list("spell", flat=True).distinct())
        found += first_of_each([waiting().filter(account=cast.account_id, spell=one) for one in spell_ids])
    return found


def first_of_each(lines: list[QuerySet[Cast]]) -> list[Cast]:
    heads = [line.order_by("pk").first() for line in lines]  # None: it has become empty since it was seen
    return sorted((head for head in heads if head is not None), key=lambda cast: cast.pk)
