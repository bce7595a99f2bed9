"""Finding casts by whatever somebody has of one: told back as what it was understood as.

Nothing here looks through all casts: each way goes by an index. Words that name no single cast (a spell, an account, a
key, a repository) are turned into the rows that they name, and casts are found by those.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.audit.models import AuditEntry
from accounts.keys import KEY_MARK
from accounts.models import Account, ApiKey
from casts.models import Cast, IdempotencyRecord, MetadataMark, Spell, mark_of
from casts.runtime import runtimes
from core.admin.base import run_id_in, uuid_in
from core.db.documents import TextAt
from core.ids import beginning, first_id
from core.numbers import counted

HELP = (
    "By cast id or its first digits, run number or address, request id, Idempotency-Key, metadata (key=value, or a "
    "value), repository, spell, account, member, or an API key's prefix."
)
HOW = (
    "Nothing is found by that. Give a cast's id or at least its first {digits} digits; a run's number or address; the "
    "request id (X-Request-Id) of a request of the last 30 days (the audit log has the older ones); an "
    "Idempotency-Key of the last seven days, whole; "
    "metadata as key=value, or a value whole; or parts of the names of its spell, account, repository, member or API "
    "key."
)
A_PREFIX_CHARS = 6  # digits: the casts of five hours share six, those of a minute eight
MOST = 200  # rows that one thing may name
RECENTLY = dt.timedelta(days=30)
MOST_MARKS, MARKS_AT_ONCE = 20_000, 1_000
SAMPLE, NAMES = 300, 20  # newest casts whose metadata is read for its names, and names that are tried
DIGITS = re.compile(rf"[0-9a-f]{{{A_PREFIX_CHARS},32}}", re.IGNORECASE)
TOKEN = re.compile(r"[\x21-\x7e]{1,255}")  # a request id or an Idempotency-Key


@dataclass
class Found:
    """What a search term was understood as."""

    said: list[str] = field(default_factory=list)
    keys: set[uuid.UUID] = field(default_factory=set)
    where: Q | None = None

    def add(self, as_what: str, keys: Iterable[uuid.UUID]) -> None:
        found = list(keys)
        if found:
            many = f"{MOST} or more casts" if len(found) >= MOST else counted(len(found), "cast")
            self.said.append(f"{many} by {as_what}.")
            self.keys.update(found)


def understand(term: str, *, account_id: int | None = None) -> Found:
    """Return which casts a term names. `account_id`: metadata is looked up for this account alone."""
    term, found = term.strip(), Found()
    if cast_id := uuid_in(term):
        found.add("id", Cast.objects.filter(pk=cast_id).values_list("pk", flat=True))
    digits = term.replace("-", "")
    if DIGITS.fullmatch(digits) and len(digits) < 32:
        found.add("the first digits of the id", by_prefix(digits))
    if (run_id := run_id_in(term)) is not None:
        found.add("run", Cast.objects.filter(run_key=str(run_id)).values_list("pk", flat=True)[:MOST])
    if TOKEN.fullmatch(term):
        found.add("Idempotency-Key", by_idempotency_key(term))
    if "=" in term:
        name, _, value = term.partition("=")
        found.add(f"metadata {name.strip()}", by_metadata({name.strip()}, value.strip(), account_id))
    if not found.keys and TOKEN.fullmatch(term):
        found.add("request id", by_request_id(term))
    if not found.keys:
        # A word may be both: a name, and what somebody wrote into the metadata.
        found.where = by_words(term, found.said)
        if "=" not in term:
            found.add("a value in the metadata", by_metadata(usual_names(), term, account_id))
    if not found.said:
        found.said = [HOW.format(digits=A_PREFIX_CHARS)]
    return found


def narrowed(casts: QuerySet[Any], found: Found) -> QuerySet[Any]:
    ways = [Q(pk__in=found.keys)] if found.keys else []
    ways += [found.where] if found.where is not None else []
    return casts.filter(reduce(or_, ways)) if ways else casts.none()


def by_prefix(digits: str) -> Any:
    return Cast.objects.filter(pk__range=beginning(digits)).order_by("-pk").values_list("pk", flat=True)[:MOST]


def by_request_id(term: str) -> Iterator[uuid.UUID]:
    # An index would cost every cast more than a look at a month's entries costs now and then.
    lately = AuditEntry.objects.filter(pk__gte=first_id(timezone.now() - RECENTLY), object_kind="cast")
    entries = lately.filter(request_id=term).order_by()
    for object_id in entries.values_list("object_id", flat=True).distinct()[:MOST]:
        if found := uuid_in(object_id):
            yield found


def by_idempotency_key(term: str) -> Iterator[uuid.UUID]:
    records = IdempotencyRecord.objects.filter(key=term).order_by()
    for cast_id in records.values_list(TextAt("body", "cast_id"), flat=True)[:MOST]:
        if cast_id and (found := uuid_in(cast_id)):
            yield found


def usual_names() -> set[str]:
    """Return the names that the metadata of the newest casts has."""
    newest = Cast.objects.order_by("-pk").values_list("metadata", flat=True)[:SAMPLE]
    names: dict[str, None] = {name: None for metadata in newest for name in metadata or {}}
    return set(list(names)[:NAMES])


def by_metadata(names: set[str], value: str, account_id: int | None) -> list[uuid.UUID]:
    """Find casts by their marks: one for each name and each account that may have it, the newest accounts first."""
    if not names or not value:
        return []
    most = MOST_MARKS // len(names)
    accounts = Account.objects.order_by("-pk").values_list("pk", flat=True)[:most]
    marks = [mark_of(one, name, value) for one in ([account_id] if account_id else accounts) for name in names]
    found: list[uuid.UUID] = []
    for first in range(0, len(marks), MARKS_AT_ONCE):
        marked = MetadataMark.objects.filter(mark__in=marks[first : first + MARKS_AT_ONCE])
        found += marked.values_list("cast_id", flat=True)[: MOST - len(found)]
        if len(found) >= MOST:
            break
    return found


def by_words(term: str, said: list[str]) -> Q | None:
    """Return what casts are like whose spell, account, key or repository has each word; None if one names nothing."""
    where, told = Q(), []
    for word in term.split():
        kinds = {
            "spell": ("spell__in", spells_like(word)),
            "account": ("account__in", keys_of(Account.objects.filter(name__icontains=word))),
            "API key": ("api_key__in", keys_of(ApiKey.objects.filter(prefixed(word)))),
            "member": ("placed_by__in", keys_of(User.objects.filter(username__icontains=word))),
        }
        like = [Q(**{lookup: rows}) for lookup, rows in kinds.values() if rows]
        if not like:
            return None
        where &= reduce(or_, like)
        named = ", ".join(counted(len(rows), kind) for kind, (_, rows) in kinds.items() if rows)
        told.append(f"“{word}” is in the name of {named}.")
    said += told
    return where or None


def keys_of(rows: QuerySet[Any]) -> list[int]:
    return list(rows.order_by("-pk").values_list("pk", flat=True)[:MOST])


def prefixed(word: str) -> Q:
    """Return what the keys are like whose prefix begins so, with or without what all begin with."""
    return Q(prefix__startswith=word) | Q(prefix__startswith=KEY_MARK + word)


def spells_like(word: str) -> list[int]:
    """Return the spells whose key has this word, or where they run: their repositories."""
    targets = {runtime.target for _, runtime in runtimes()} - {None}
    fields = [f"{target.relation()}__{name}" for target in targets if target for name in target.searched]
    like = reduce(or_, (Q(**{f"{name}__icontains": word}) for name in ("key", *fields)))
    return keys_of(Spell.objects.filter(like).distinct())
