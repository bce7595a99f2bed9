"""New casts: what is stored of one, and what is held for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts import budget
from accounts.models import Account, ApiKey
from casts import metrics, pricing
from casts.lifecycle import events
from casts.models import Cast, MetadataMark, Spell, mark_of
from casts.runtime import runtime_for
from core.db.compiled import Insert
from core.ids import uuid7
from core.queue import wakeups
from core.telemetry import tracing

ADD_CAST, ADD_MARK = Insert(Cast), Insert(MetadataMark)


def new_cast(
    *,
    account: Account,
    api_key: ApiKey | None = None,
    placed_by: User | None = None,
    spell: Spell,
    input: Any,
    ttl_seconds: int | None = None,
    callback_url: str = "",
    metadata: dict[str, Any] | None = None,
    retry_of: Cast | None = None,
) -> Cast:
    """Return a cast as it will be once it is accepted; nothing is stored yet."""
    now, price = timezone.now(), pricing.Price.of(spell)
    return Cast(
        id=uuid7(),
        account=account,
        api_key=api_key,
        placed_by=placed_by,
        spell=spell,
        retry_of=retry_of,
        input=input,
        metadata=metadata or {},
        callback_url=callback_url,
        traceparent=tracing.carried(),
        cost_cents=price.max_cents,
        price=price.kept,
        spell_version=spell.version or None,
        run_scope=runtime_for(spell.runtime).scope(spell),
        created_at=now,
        expires_at=now + dt.timedelta(seconds=ttl_seconds or spell.ttl_seconds),
        due_at=now,  # the worker finds it: a queued cast is its own outbox entry
        last_seq=1,
    )


def accept(casts: Sequence[Cast]) -> None:
    """Store new casts of one account and hold their prices; raise BudgetExceeded or TooManyOpenCasts.

    All of them, in this order, or none: the transaction is the caller's, to be rolled back.
    """
    ADD_CAST.all(casts)
    mark_metadata(casts)
    events.append_all([events.line(cast, "accepted", at=cast.created_at) for cast in casts])
    # Last: it locks the account's counter, for which all other casts of the account wait.
    budget.hold_all(
        casts[0].account,
        [
            budget.Hold(
                cast_id=cast.pk,
                cents=cast.cost_cents,
                at=cast.created_at,
                api_key_id=str(cast.api_key_id or ""),
                spell_key=cast.spell.key,
            )
            for cast in casts
        ],
    )
    transaction.on_commit(wakeups.work_is_due)
    for cast in casts:
        transaction.on_commit(metrics.ACCEPTED.labels(cast.spell.key, cast.spell.runtime).inc)


def mark_metadata(casts: Sequence[Cast]) -> None:
    """Have lists find new casts by the entries of their metadata."""
    for_all = []
    for cast in casts:
        marks = {mark_of(cast.account_id, name, value) for name, value in cast.metadata.items()}
        for_all += [MetadataMark(mark=mark, cast=cast) for mark in sorted(marks)]
    ADD_MARK.all(for_all)
