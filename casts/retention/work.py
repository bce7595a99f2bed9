"""The one purge: what was kept for long enough is deleted, some at a time, by one worker at a time.

Casts are looked at in the order in which they ended, which is the order of the ledger's settlements: each cast has one,
of its last moment, and it stays for good. There is a mark for each number of days that any rule names; a mark goes
along once, and begins anew when the rules change. So nothing has to be noted on a cast while it runs, and no index is
needed to find what is old.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import takewhile
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts.audit import retention as audit
from accounts.audit.models import AuditEntry
from accounts.models import LedgerEntry
from casts.models import FINAL, Callback, Cast, Kept, RetentionMark, Round
from casts.retention import removal, rules
from casts.retention.removal import Due
from casts.retention.rules import AT_MOST, OF_CASTS, Rules
from core.db import purging
from core.queue.due import DueQuerySet
from core.times import stamp

logger = logging.getLogger(__name__)

AGAIN = dt.timedelta(minutes=10)  # between rounds
STEP_SECONDS = 3.0  # of work in one step; what is left is done in the next
CHUNK = 100  # casts in one transaction
OUT_OF_ORDER = dt.timedelta(hours=1)  # by which a row's moment may be before that of one with a lower number
MOST_WAITING = 1000  # casts that a mark may have passed by: beyond that it waits for them
T = TypeVar("T")


class RetentionWork:
    """Rounds of deleting."""

    def rows(self) -> DueQuerySet:
        found: DueQuerySet = Round.due_rows().filter(name=Round.Name.RETENTION)
        return found

    def step(self, row: Round) -> dt.datetime | None:
        return timezone.now() + (dt.timedelta(0) if purge(seconds=STEP_SECONDS) else AGAIN)

    def give_up(self, row: Round) -> dt.datetime | None:
        return timezone.now() + AGAIN


def ensure() -> None:
    """Create the row of the rounds unless it exists. Any worker may call this."""
    Round.objects.get_or_create(name=Round.Name.RETENTION, defaults={"due_at": timezone.now()})


def purge(*, seconds: float) -> bool:
    """Delete what is over, for about so many seconds; return whether there is more.

    What can't be deleted keeps nothing else: the first of such errors is raised at the end.
    """
    ends_at = time.monotonic() + seconds
    failures: list[Exception] = []
    more = False
    for path in settings.PURGES:
        with by_itself(path, failures):
            more |= import_string(path)() >= purging.CHUNK * purging.CHUNKS
    known = rules.load()
    fingerprint = cache(known.fingerprint)
    sources: tuple[tuple[str, Iterable[str], Callable[[RetentionMark, Rules], bool]], ...] = (
        ("casts", OF_CASTS, casts),
        ("callbacks", (Kept.CALLBACK,), callbacks),
        ("audit", (Kept.AUDIT,), entries),
    )
    for source, kinds, look in sources:
        for days in known.all_days(kinds):
            with by_itself(f"{source}, {days} days", failures):
                mark = mark_of(source, days, fingerprint, known.newest_spell)
                while look(mark, known):
                    if time.monotonic() > ends_at:
                        return True
    if failures:
        raise failures[0]
    return more


@contextmanager
def by_itself(what: str, failures: list[Exception]) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        logger.exception("not deleted", extra={"what": what})
        failures.append(exc)


def mark_of(source: str, days: int, fingerprint: Callable[[int], str], newest_spell: int) -> RetentionMark:
    """Return a mark, at its beginning if the rules have changed.

    A spell that is new since the last round is no change: nothing of it was there to be passed.
    """
    now = fingerprint(newest_spell)
    fresh: dict[str, Any] = {"rules": now, "place": "", "waiting": []}
    mark, _ = RetentionMark.objects.get_or_create(source=source, days=days, defaults=fresh)
    upto = mark.rules.partition(" ")[0]
    if not upto.isdecimal() or mark.rules != fingerprint(int(upto)):
        mark.place = ""
    if mark.rules != now:
        mark.rules = now
        mark.save(update_fields=["rules", "place"])
    return mark


def move(mark: RetentionMark, place: object) -> None:
    mark.place = str(place)
    mark.save(update_fields=["place", "waiting"])


def over(mark: RetentionMark) -> dt.datetime:
    return timezone.now() - dt.timedelta(days=mark.days)


def old_enough(rows: Iterable[T], until: dt.datetime, at: Callable[[T], dt.datetime]) -> list[T]:
    """Return which of these rows, in the order of their numbers, are from `until` at the latest, for a mark to pass.

    Moments are a little out of that order: several processes write at once, and clocks differ. So one that is almost
    old enough is waited for, lest it be passed by for good; one whose clock was far ahead would hold up all others.
    """
    passed = takewhile(lambda row: not until < at(row) <= until + OUT_OF_ORDER, rows)
    return [row for row in passed if at(row) <= until]


# --- What is about casts -----------------------------------------------------------------------------------------


def casts(mark: RetentionMark, known: Rules) -> bool:
    """Go on along the settlements by one chunk; return whether there is more to do now."""
    if len(mark.waiting) < MOST_WAITING:
        settled = LedgerEntry.objects.filter(pk__gt=int(mark.place or 0), settles=True).order_by("pk")
        rows = settled.values_list("pk", "cast_id", "at")[:CHUNK]
        until = over(mark)
        chosen = old_enough(rows, until, lambda row: row[2])
        if chosen:
            with transaction.atomic():
                mark.waiting += [str(pk) for pk in remove([cast_id for _, cast_id, _ in chosen], known, mark.days)]
                move(mark, chosen[-1][0])
            return True
    if mark.waiting:
        with transaction.atomic():
            again = mark.waiting[:CHUNK]
            still = remove([uuid.UUID(pk) for pk in again], known, mark.days)
            mark.waiting = [*mark.waiting[CHUNK:], *(str(pk) for pk in still)]
            move(mark, mark.place)
    return False


def remove(ids: Sequence[uuid.UUID], known: Rules, days: int) -> set[uuid.UUID]:
    """Delete what of these casts is kept for so many days or fewer; return those that are to be looked at again."""
    # Locked in order, as everybody does who locks several.
    found = Cast.objects.filter(pk__in=ids, status__in=FINAL).order_by("pk").select_for_update(no_key=True)
    due: dict[str, list[Due]] = defaultdict(list)
    all_of_them = []
    for cast in found.defer("input", "metadata", "output", "summary", "jobs", "annotations"):
        kinds = due_kinds(cast, known, days)
        if kinds:
            one = Due(cast, kinds)
            all_of_them.append(one)
            for kind in kinds:
                due[kind].append(one)
    waiting: dict[str, set[uuid.UUID]] = {}
    for kind, path in settings.RETENTION.items():
        if due[kind]:
            waiting[kind] = import_string(path)(due[kind])
    emptied = [one for one in all_of_them if {Kept.INPUT, Kept.OUTPUT, Kept.LOG} & one.kinds.keys()]
    removal.texts(emptied)
    now = stamp(timezone.now())
    for one in all_of_them:
        done = {
            kind: {"at": now, "days": after}
            for kind, after in one.kinds.items()
            if one.cast.pk not in waiting.get(kind, ())
        }
        if done:
            Cast.objects.filter(pk=one.cast.pk).update(removed=(one.cast.removed or {}) | done)
    if all_of_them:
        logger.info("deleted what was kept long enough", extra={"casts": len(all_of_them), "days": days})
    return set().union(*waiting.values())


def due_kinds(cast: Cast, known: Rules, days: int) -> dict[str, int]:
    found = {}
    for kind in OF_CASTS:
        after = known.days(kind, cast.account_id, cast.spell_id)
        if after is None or after > days or kind in (cast.removed or {}):
            continue
        if kind in AT_MOST and after >= known.usual.get(kind, after + 1):
            continue  # they go by themselves
        found[kind.value] = after
    return found


# --- What is about accounts --------------------------------------------------------------------------------------


def callbacks(mark: RetentionMark, known: Rules) -> bool:
    """Delete callbacks that tell of no cast, but of an account, or that are tests."""
    after = Callback.objects.filter(pk__gt=mark.place, cast=None).order_by("pk")
    until = over(mark)
    rows = old_enough(
        after.only("account", "created_at", "due_at", "lease_until")[:CHUNK], until, lambda row: row.created_at
    )
    if not rows:
        return False
    keys = [
        row.pk
        for row in rows
        if (known.days(Kept.CALLBACK, row.account_id) or mark.days + 1) <= mark.days
        and row.due_at is None
        and row.lease_until is None
    ]
    with transaction.atomic():
        removal.delete_callbacks(keys)
        move(mark, rows[-1].pk)
    return True


def entries(mark: RetentionMark, known: Rules) -> bool:
    after = AuditEntry.objects.filter(pk__gt=uuid.UUID(mark.place or "0" * 32)).order_by("pk")
    until = over(mark)
    rows = old_enough(after.values_list("pk", "account_id", "at")[:CHUNK], until, lambda row: row[2])
    if not rows:
        return False
    keys = [
        pk for pk, account, _ in rows if (days := known.days(Kept.AUDIT, account)) is not None and days <= mark.days
    ]
    with transaction.atomic():
        audit.delete(keys, before=until)
        move(mark, rows[-1][0])
    return True
