"""Casting at most once per Idempotency-Key, however often a request is repeated.

The record is inserted in the transaction that accepts the cast, and committed or rolled back with it: there is no
"in progress" state that a killed process could leave behind. A twin of a request that is being accepted waits for that
transaction at the unique key, and then finds the answer. Nothing is stored for a refusal, so a refused request may be
repeated with the same key.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.db import IntegrityError, OperationalError
from django.utils import timezone

from accounts.models import Account
from casts.errors import KeyReused, MalformedKey, TwinInFlight
from casts.models import Cast, IdempotencyRecord
from core.db.compiled import Insert, Param, Select
from core.db.locks import wait_for_locks

KEPT = dt.timedelta(days=7)
FORM = re.compile(r"[\x21-\x7e]{1,255}")  # visible ASCII
ANSWERED = Select(
    lambda: IdempotencyRecord.objects.filter(
        account=Param(IdempotencyRecord, "account_id"),
        route=Param(IdempotencyRecord, "route"),
        key=Param(IdempotencyRecord, "key"),
    )
)
ADD_RECORD = Insert(IdempotencyRecord)
TWIN_WAIT_MS = 2000  # a transaction that takes longer belongs to a process in trouble


def key_of(headers: Mapping[str, str], account: Account) -> str | None:
    """Return the request's key, None without one; raise MalformedKey, also if the account requires one."""
    key = headers.get("Idempotency-Key")
    if key is None:
        if account.require_idempotency_key:
            raise MalformedKey("This account requires an Idempotency-Key header: a new one for each cast you mean.")
        return None
    if not FORM.fullmatch(key):
        raise MalformedKey("An Idempotency-Key is 1 to 255 visible ASCII characters, without spaces; a UUID is good.")
    return key


def fingerprint(payload: Any) -> str:
    """Return the SHA-256 of a request's canonical JSON: the order of names and the spacing don't count."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def once(
    *,
    account: Account,
    route: str,
    key: str | None,
    payload: Any,
    accept: Callable[[Callable[[Cast], None] | None], Cast],
    answer: Callable[[Cast], dict[str, Any]],
) -> tuple[dict[str, Any], bool]:
    """Accept a cast unless a request with this key did; return the answer's body, and whether it is a replay.

    `accept` calls what it is given with the cast, in its transaction, before it stores it.
    Raise KeyReused for another payload, TwinInFlight if a twin takes too long, and whatever `accept` raises.
    """
    if key is None:
        return answer(accept(None)), False
    body: dict[str, Any] = {}

    def claim(cast: Cast) -> None:
        body.update(answer(cast))
        _claim(account, route, key, fingerprint(payload), body)

    try:
        accept(claim)
    except IntegrityError:
        if (first := replay(account, route, key, payload)) is None:
            raise  # not the key's: a bug must not look like a twin
        return first, True
    return body, False


def replay(account: Account, route: str, key: str | None, payload: Any) -> dict[str, Any] | None:
    """Return the answer that a request with this key had, None if there was none; raise KeyReused.

    Asked before anything else about the request: a repetition is answered as the first was, whatever has changed since.
    """
    if key is None:
        return None
    record = ANSWERED.first(account_id=account.pk, route=route, key=key)
    if record is None:
        return None
    if record.created_at <= timezone.now() - KEPT:  # the purge will come for it; it is in our way now
        IdempotencyRecord.objects.filter(pk=record.pk).delete()
        return None
    if record.fingerprint != fingerprint(payload):
        raise KeyReused("This Idempotency-Key came with another request before. Use a new key for a new request.")
    body: dict[str, Any] = record.body
    return body


def _claim(account: Account, route: str, key: str, digest: str, body: dict[str, Any]) -> None:
    """Insert the record; on Postgres, wait at a twin's for TWIN_WAIT_MS at most.

    The limit stays for the whole transaction: who waits longer for its account's counter is better told to come back.
    """
    wait_for_locks(TWIN_WAIT_MS)
    try:
        ADD_RECORD.run(
            IdempotencyRecord(
                account=account, route=route, key=key, fingerprint=digest, body=body, created_at=timezone.now()
            )
        )
    except OperationalError as exc:
        if "lock timeout" not in str(exc):
            raise
        raise TwinInFlight("The same request is in progress; try again.", headers={"Retry-After": "1"}) from exc


def purge() -> int:
    """Forget keys after seven days; return how many."""
    return IdempotencyRecord.objects.filter(created_at__lte=timezone.now() - KEPT).delete()[0]
