"""Adding to the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models
from django.utils import timezone

from accounts.audit.models import AuditEntry
from accounts.principals import Principal
from core.api.address import UNKNOWN
from core.api.problems import request_id
from core.db.compiled import Insert
from core.rationing.visits import visit

ADD = Insert(AuditEntry)
HIDDEN = ("password", "secret", "token", "digest")  # in the names of what is never shown
MAX_CHARS = 300  # of one value
MAX_ITEMS = 100  # of one list

Facts = Mapping[str, Any]


def record(
    who: Principal,
    action: str,
    on: models.Model | tuple[str, object] | None = None,
    *,
    account_id: int | None = None,
    before: Facts | None = None,
    after: Facts | None = None,
) -> None:
    """Add an entry; to be called in the transaction of the change.

    `on`: what was changed, a row or its kind and id. `account_id`: whose it is, if not the principal's.
    """
    ADD.run(entry_of(who, action, on, account_id=account_id, before=before, after=after))


def entry_of(
    who: Principal,
    action: str,
    on: models.Model | tuple[str, object] | None = None,
    *,
    account_id: int | None = None,
    before: Facts | None = None,
    after: Facts | None = None,
) -> AuditEntry:
    """Return what `record` adds: of the request at work, to be added with others' in the transaction of the changes."""
    if isinstance(on, models.Model):
        on = (on._meta.label_lower.rpartition(".")[2], on.pk)
    kind, identity = on or ("", "")
    now = visit.get()
    actor_id = who.key.pk if who.key else who.user.pk if who.user else ""
    return AuditEntry(
        at=timezone.now(),
        account_id=who.account_id if account_id is None else account_id,
        actor_kind=who.kind,
        actor_id=str(actor_id),
        actor=who.label[:200],
        action=action,
        object_kind=kind,
        object_id=str(identity)[:100],
        before=None if before is None else plain(before),
        after=None if after is None else plain(after),
        address=None if now is None or now.client in ("", UNKNOWN) else now.client,
        request_id=request_id.get() if now else "",
    )


def add(entries: Sequence[AuditEntry]) -> None:
    ADD.all(entries)


def plain(facts: Facts) -> dict[str, Any]:
    """Return values as JSON can hold them, short and without secrets."""
    return {str(name): "***" if is_hidden(str(name)) else _plain(value) for name, value in facts.items()}


def is_hidden(name: str) -> bool:
    return any(word in name.lower() for word in HIDDEN)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, models.Model):
        return str(value.pk)
    if isinstance(value, list | tuple | set | frozenset | models.QuerySet):
        return [_plain(one) for one in list(value)[:MAX_ITEMS]]
    return str(value)[:MAX_CHARS]
