"""The one way in: how a cast is placed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import FilteredRelation, Q, QuerySet

from accounts import credit
from accounts.audit import log
from accounts.errors import BudgetExceeded
from accounts.models import Account, ApiKey
from accounts.principals import Principal
from casts.errors import SpellNotFound
from casts.lifecycle import idempotency, moves
from casts.lifecycle.idempotency import Once
from casts.models import Cast, Spell
from casts.representation import cast_out
from casts.runtime import target_relations
from casts.spells.inputs import checked_input
from core.db.compiled import Param, Select
from core.errors import Forbidden, SpellError


def with_target(spells: QuerySet[Spell]) -> QuerySet[Spell]:
    relations = target_relations()
    # Without a name select_related would follow every relation.
    return spells.select_related(*relations) if relations else spells


def priced_for(account: int | Param, spells: QuerySet[Spell]) -> QuerySet[Spell]:
    """Have spells be read with what they cost an account, where that is not their own price."""
    own = FilteredRelation("account_prices", condition=Q(account_prices__account=account))
    found: Any = spells.annotate(**{"own_price": own})
    priced: QuerySet[Spell] = found.select_related("own_price")
    return priced


SPELL = Select(
    lambda: priced_for(
        Param(Account, "id", "account_id"), with_target(Spell.objects.filter(key=Param(Spell, "key")).order_by())
    )
)


@dataclass(frozen=True, kw_only=True)
class CastOrder:
    """What somebody wants cast. Whether the spell takes the input is checked when it is placed."""

    api_key: ApiKey
    spell_key: str
    input: Any
    ttl_seconds: int | None = None  # None: as long as the spell gives it
    callback_url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    retry_of: Cast | None = None
    principal: Principal | None = None  # for the audit log; None: an operator, whom the admin notes there


@dataclass(frozen=True)
class Accepted:
    """The cast as the API shows all of it; `replayed` if an earlier request with the same key has placed it."""

    body: dict[str, Any]
    replayed: bool = False


def place(order: CastOrder, once: Once | None) -> Accepted:
    """Accept a cast, unless a request with the same Idempotency-Key did.

    Raise SpellNotFound, Forbidden, InvalidInput, InputTooLarge or BudgetExceeded, or TwinInFlight: see `idempotency`.
    """
    # Before anything is checked: a repetition is answered as the first was, whatever has changed since.
    if (before := repeated(once, order.api_key)) is not None:
        return before
    spell = castable(order.api_key, order.spell_key)
    cast = moves.new_cast(
        api_key=order.api_key,
        spell=spell,
        input=checked_input(spell, order.input),
        ttl_seconds=order.ttl_seconds,
        callback_url=order.callback_url,
        metadata=order.metadata,
        retry_of=order.retry_of,
    )
    body = cast_out(cast)
    try:
        with transaction.atomic():
            if once is not None:
                idempotency.claim(once, body)
            if order.principal is not None:
                # Before the account's counters are locked, for which its other casts wait.
                action = "cast.retry" if order.retry_of else "cast.create"
                log.record(order.principal, action, cast, after=facts_of(cast, order))
            moves.accept(cast)
    except BudgetExceeded as exc:
        raise credit.with_remedy(exc, order.api_key.account_id) from None
    except IntegrityError:
        twin = idempotency.find_answer(once) if once is not None else None
        if twin is None:
            raise  # another constraint: a bug must not look like a twin
        return Accepted(twin, replayed=True)
    return Accepted(body)


def facts_of(cast: Cast, order: CastOrder) -> dict[str, Any]:
    facts = {"spell_key": order.spell_key, "cost_cents": cast.cost_cents}
    return facts | ({"retry_of": str(order.retry_of.pk)} if order.retry_of else {})


def cast_again(cast_id: uuid.UUID, *, by: str) -> bool:
    """Cast once more, for an operator, what was given up; False if it was cast again already, or can't be.

    The new cast is its API key's, with its price, as if the caller had tried again.
    """
    with transaction.atomic():
        ended = Cast.objects.select_for_update(of=("self",)).select_related("spell", "api_key__account")
        before = ended.get(pk=cast_id)
        key = before.api_key
        if not before.final or key is None or not key.usable or before.retries.exists():
            return False
        order = CastOrder(
            api_key=key,
            spell_key=before.spell.key,
            input=before.input,
            callback_url=before.callback_url,
            metadata=before.metadata,
            retry_of=before,
        )
        try:
            place(order, None)
        except SpellError:  # the spell is gone or takes other inputs now, or the budget is used up
            return False
        moves.note_operator([before.pk], "cast_again", by=by)
    return True


def repeated(once: Once | None, key: ApiKey) -> Accepted | None:
    """Return the answer that the first request with this Idempotency-Key had, None if this is the first.

    Raise Forbidden if it was about a spell that is not for this key: another key may have sent it.
    """
    if once is None or once.answer is None:
        return None
    if not key.allows_spell(once.answer["spell_key"]):
        raise may_not_cast(key, once.answer["spell_key"])
    return Accepted(once.answer, replayed=True)


def castable(key: ApiKey, spell_key: str) -> Spell:
    """Return an active spell that this key may cast; raise SpellNotFound, or Forbidden if the key's list lacks it."""
    spell = SPELL.first(key=spell_key, account_id=key.account_id)
    if spell is not None and spell.active and spell.account_id in (None, key.account_id):
        if key.allows_spell(spell_key):
            return spell
        raise may_not_cast(key, spell_key)
    raise SpellNotFound(f"There is no active spell {spell_key!r}. GET /api/v1/spells lists what this key may cast.")


def may_not_cast(key: ApiKey, spell_key: str) -> Forbidden:
    return Forbidden(f"This API key may not cast {spell_key!r}; it may cast {', '.join(key.spell_keys or [])}.")
