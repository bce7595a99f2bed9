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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from accounts.models import Account
from casts.errors import KeyReused, MalformedKey, TwinInFlight
from casts.models import IdempotencyRecord
from core.db.compiled import Insert, Param, Select
from core.db.locks import wait_for_locks
from core.db.purging import purge_some
from core.limits import IDEMPOTENCY_KEY_CHARS

KEY_FORMAT = re.compile(rf"[\x21-\x7e]{{1,{IDEMPOTENCY_KEY_CHARS}}}")  # visible ASCII
FORM_TOKEN = re.compile(r"[\x21-\x7e]{16,64}")
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
    if not KEY_FORMAT.fullmatch(key):
        raise MalformedKey(
            f"An Idempotency-Key is 1 to {IDEMPOTENCY_KEY_CHARS} visible ASCII characters, without spaces; "
            "a UUID is good."
        )
    return key


def fingerprint(payload: Any) -> str:
    # Neither the order of names nor the spacing makes it another request.
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Once:
    """A request that casts once, however often it comes: what tells it from others, and how it was answered."""

    account: Account
    route: str
    key: str
    fingerprint: str
    answer: dict[str, Any] | None = None  # the body; None if no such request had been accepted

    @property
    def identity(self) -> tuple[int, str, str]:
        """What it has in common with its twins alone."""
        return self.account.pk, self.route, self.key


def once_of(headers: Mapping[str, str], account: Account, *, route: str, payload: Any) -> Once | None:
    """Return what a request's Idempotency-Key says of it, None without one; raise MalformedKey or KeyReused.

    To be called before anything else is checked: a repetition is answered as the first was, whatever has changed since.
    """
    key = key_of(headers, account)
    if key is None:
        return None
    once = Once(account, route, key, fingerprint(payload))
    return replace(once, answer=find_answer(once))


def once_of_form(account: Account, token: str, *, route: str, payload: Any) -> Once:
    """Return what a form's hidden random token says of it, in place of the header; raise MalformedKey.

    Sent twice, by a double click or a reload, it casts once; sent anew with something else in it, it was meant anew.
    """
    if not FORM_TOKEN.fullmatch(token):
        raise MalformedKey("The form was not whole. Load its page again, and send it from there.")
    of_payload = fingerprint(payload)
    once = Once(account, f"page:{route}", f"{token}:{of_payload[:32]}", of_payload)
    return replace(once, answer=find_answer(once))


def find_answer(once: Once) -> dict[str, Any] | None:
    """Return the body that a request with this key was answered with, None if there was none; raise KeyReused."""
    record = ANSWERED.first(account_id=once.account.pk, route=once.route, key=once.key)
    if record is None:
        return None
    if record.created_at <= timezone.now() - lifetime():  # not purged yet, and the new record needs its key
        IdempotencyRecord.objects.filter(pk=record.pk).delete()
        return None
    if record.fingerprint != once.fingerprint:
        raise KeyReused("This Idempotency-Key came with another request before. Use a new key for a new request.")
    body: dict[str, Any] = record.body
    return body


def claim(answers: Sequence[tuple[Once, dict[str, Any]]]) -> None:
    """Store answers, so that no twin is accepted; on Postgres, wait for a twin for TWIN_WAIT_MS at most.

    Raise IntegrityError if a twin has been accepted, TwinInFlight if one takes too long. Nothing is done for none.
    """
    if not answers:
        return
    # The limit holds for the whole transaction: a request that would wait longer for its account's counter, too, is
    # better told to come back.
    wait_for_locks(TWIN_WAIT_MS)
    now = timezone.now()
    records = [
        IdempotencyRecord(
            account=once.account,
            route=once.route,
            key=once.key,
            fingerprint=once.fingerprint,
            body=body,
            created_at=now,
        )
        # In one order: of two that store several answers, neither waits for what the other will store.
        for once, body in sorted(answers, key=lambda answer: answer[0].identity)
    ]
    try:
        ADD_RECORD.all(records)
    except OperationalError as exc:
        if "lock timeout" not in str(exc):  # Postgres' words; the class alone says too little
            raise
        raise TwinInFlight("The same request is in progress; try again.", headers={"Retry-After": "1"}) from exc


def lifetime() -> dt.timedelta:
    return dt.timedelta(days=settings.IDEMPOTENCY_RETENTION_DAYS)


def purge() -> int:
    old = IdempotencyRecord.objects.filter(created_at__lte=timezone.now() - lifetime())
    return purge_some(old.order_by("created_at"))
