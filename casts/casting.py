"""The one way in: how a cast is placed."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.db import Error, IntegrityError, transaction
from django.db.models import FilteredRelation, Q, QuerySet

from accounts import credit, open_casts, principals
from accounts.audit import log
from accounts.audit.models import AuditEntry
from accounts.errors import BudgetExceeded
from accounts.models import Account, ApiKey, Membership, Role, month_of
from accounts.principals import Principal
from accounts.rationing.keys import admit_member
from casts.access import may_cast, named_by
from casts.errors import InputRemoved, SpellNotFound
from casts.lifecycle import accepting, idempotency, moves, operators
from casts.lifecycle.idempotency import Once
from casts.models import Cast, Kept, Spell
from casts.representation import cast_out
from casts.runtime import target_relations
from casts.spells.inputs import checked_input
from core import access
from core.db.away import Away
from core.db.compiled import Param, Select
from core.errors import Forbidden, SpellError
from core.numbers import counted
from core.rationing.visits import visit
from core.telemetry import tracing

logger = logging.getLogger(__name__)


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

    account: Account  # which pays
    api_key: ApiKey | None = None  # None: a member casts it in the browser
    placed_by: User | None = None  # that member
    spell_key: str
    input: Any
    ttl_seconds: int | None = None  # None: as long as the spell gives it
    callback_url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    retry_of: Cast | None = None
    principal: Principal | None = None  # for the audit log; None: an operator, whom the admin notes there

    @classmethod
    def of_key(cls, api_key: ApiKey, **rest: Any) -> CastOrder:
        return cls(account=api_key.account, api_key=api_key, **rest)

    @classmethod
    def of_member(cls, membership: Membership, **rest: Any) -> CastOrder:
        """Return a member's order, without a key; raise Forbidden for a role that may not cast."""
        if not may_cast(Role(membership.role)):
            raise Forbidden(
                f"As a {membership.role} of the account {membership.account} you may not cast. An owner of the account "
                "can give you another role."
            )
        rest.setdefault("principal", principals.of_member(membership))
        return cls(account=membership.account, placed_by=membership.user, **rest)


@dataclass(frozen=True)
class Accepted:
    """The cast as the API shows all of it; `replayed` if an earlier request with the same key has placed it."""

    body: dict[str, Any]
    replayed: bool = False


@dataclass(frozen=True)
class Placement:
    """An order that has been checked: what is stored if it is accepted."""

    cast: Cast
    body: dict[str, Any]  # the answer
    once: Once | None
    audit: AuditEntry | None


def place(order: CastOrder, once: Once | None) -> Accepted:
    """Accept a cast, unless a request with the same Idempotency-Key did.

    Raise SpellNotFound, Forbidden, InputRemoved, InvalidInput, InputTooLarge or BudgetExceeded, or TwinInFlight: see
    `idempotency`. For a member also RateLimited: a key's requests were counted when it was checked.
    """
    checked = check(order, once)
    return checked if isinstance(checked, Accepted) else accept(checked)


@tracing.spanned("cast accept")
def check(order: CastOrder, once: Once | None) -> Accepted | Placement:
    """Check all of an order that concerns nobody else's; raise what `place` does of that."""
    # Before anything is checked: a repetition is answered as the first was, whatever has changed since.
    if (before := repeated(once, order.api_key)) is not None:
        return before
    if order.retry_of is not None:
        check_has_input(order.retry_of)
    if order.placed_by is not None and order.principal is not None:
        admit_member(order.placed_by.pk, order.account, visit.get())
    spell = castable_by(order.account.pk, order.api_key, order.spell_key)
    cast = accepting.new_cast(
        account=order.account,
        api_key=order.api_key,
        placed_by=order.placed_by,
        spell=spell,
        input=checked_input(spell, order.input),
        ttl_seconds=order.ttl_seconds,
        callback_url=order.callback_url,
        metadata=order.metadata,
        retry_of=order.retry_of,
    )
    tracing.describe(moves.facts_of(cast))
    access.know(cast_id=str(cast.pk))
    audit = None
    if order.principal is not None:
        action = "cast.retry" if order.retry_of else "cast.create"
        audit = log.entry_of(order.principal, action, cast, after=facts_of(cast, order))
    return Placement(cast, cast_out(cast), once, audit)


def accept_all(some: Sequence[Placement]) -> list[Accepted | Exception]:
    """Accept casts of one account in this order; return what became of each, which is what `accept` returns or raises.

    Together if all of them can be accepted, else one by one: nobody's verdict depends on who else is in the round.
    """
    done = store_together(some)
    verdicts: list[Accepted | Exception] = []
    away = Away()
    for place, one in enumerate(some):
        try:
            verdicts.append(Accepted(one.body) if place in done else away.unless(accept, one))
        except Exception as exc:  # also what is no verdict: the others have theirs
            verdicts.append(exc)
    return verdicts


def store_together(some: Sequence[Placement]) -> set[int]:
    """Accept those that may be accepted together, all or none; return which, by their places."""
    together = those_of_one_kind(some)
    if len(together) < 2:
        return set()
    try:
        store(list(together.values()))
    except (SpellError, Error) as exc:  # for one of them there is no room, or a twin; or the database is away
        logger.debug("casts are accepted one by one", extra={"error": type(exc).__name__})
        return set()
    except Exception:  # a bug, perhaps only of doing it together; the others must not suffer from it
        logger.exception("casts are accepted one by one")
        return set()
    return set(together)


def those_of_one_kind(some: Sequence[Placement]) -> dict[int, Placement]:
    """Return, by their places, those that may be accepted together: alike in all that decides but their prices.

    Of twins, which have one Idempotency-Key, the first: it decides what the second is told.
    """
    found: dict[int, Placement] = {}
    keys: set[tuple[int, str, str]] = set()
    for place, one in enumerate(some):
        if kind_of(one) != kind_of(some[0]) or (one.once is not None and one.once.identity in keys):
            continue
        found[place] = one
        if one.once is not None:
            keys.add(one.once.identity)
    return found


def kind_of(one: Placement) -> tuple[Any, ...]:
    account = one.cast.account
    return account.pk, account.billed, open_casts.most(account), month_of(one.cast.created_at)


def accept(one: Placement) -> Accepted:
    """Accept one cast, or return what its twin was answered; raise BudgetExceeded, TooManyOpenCasts or TwinInFlight."""
    try:
        store([one])
    except BudgetExceeded as exc:
        raise credit.with_remedy(exc, one.cast.account.pk) from None
    except IntegrityError:
        if Cast.objects.filter(pk=one.cast.pk).exists():
            # By a round whose transaction was committed though that failed to be said: no other cast has this id.
            return Accepted(one.body)
        twin = idempotency.find_answer(one.once) if one.once is not None else None
        if twin is None:
            raise  # another constraint: a bug must not look like a twin
        return Accepted(twin, replayed=True)
    return Accepted(one.body)


def store(some: Sequence[Placement]) -> None:
    """Accept casts of one account in one transaction, all or none; raise why not."""
    with transaction.atomic():
        idempotency.claim([(one.once, one.body) for one in some if one.once is not None])
        # Before the account's counters are locked, for which its other casts wait.
        log.add([one.audit for one in some if one.audit is not None])
        accepting.accept([one.cast for one in some])


def check_has_input(before: Cast) -> None:
    """Raise InputRemoved for a cast that can't be cast again as it was."""
    if gone := (before.removed or {}).get(Kept.INPUT):
        raise InputRemoved(
            f"Its input was deleted {counted(gone['days'], 'day')} after its end, so it can't be cast again as it was. "
            "Cast anew, with an input."
        )


def facts_of(cast: Cast, order: CastOrder) -> dict[str, Any]:
    facts = {"spell_key": order.spell_key, "cost_cents": cast.cost_cents}
    return facts | ({"retry_of": str(order.retry_of.pk)} if order.retry_of else {})


def order_again(before: Cast, by: ApiKey | Membership, principal: Principal | None) -> CastOrder:
    """Return the order to cast the same again, at today's price, with the metadata and the callback_url it had."""
    same: dict[str, Any] = {
        "spell_key": before.spell.key,
        "input": before.input,
        "metadata": before.metadata,
        "retry_of": before,
        "principal": principal,
    }
    if isinstance(by, ApiKey):
        return CastOrder.of_key(by, callback_url=before.callback_url, **same)
    # A member's own order has none. Whoever waits for what a key has cast hears of this one, too, but not who waits
    # with a key that was revoked: that may have been because of where it had results sent.
    key = named_by(before) if before.callback_url else None
    return CastOrder.of_member(by, callback_url=before.callback_url if key and key.usable else "", **same)


def cast_again(cast_id: uuid.UUID, *, by: str) -> bool:
    """Cast once more, for an operator, what was given up; False if it was cast again already, or can't be.

    The new cast is its API key's or its member's, with its price, as if the caller had tried again.
    """
    with transaction.atomic():
        ended = Cast.objects.select_for_update(of=("self",)).select_related("spell", "api_key__account")
        before = ended.get(pk=cast_id)
        caster: ApiKey | Membership | None = before.api_key
        if before.placed_by_id is not None:
            members = Membership.objects.filter(
                user=before.placed_by_id, account=before.account_id, user__is_active=True
            )
            caster = members.select_related("user", "account").first()
        if caster is None or not before.final or before.retries.exists():
            return False
        if isinstance(caster, ApiKey) and not caster.usable:
            return False
        try:
            place(order_again(before, caster, None), None)
        except SpellError:  # the spell is gone or takes other inputs now, the budget is used up, the role too little
            return False
        operators.note_operator([before.pk], "cast_again", by=by)
    return True


def repeated(once: Once | None, key: ApiKey | None) -> Accepted | None:
    """Return the answer that the first request with this Idempotency-Key had, None if this is the first.

    Raise Forbidden if it was about a spell that is not for this key: another key may have sent it.
    """
    if once is None or once.answer is None:
        return None
    if key is not None and not key.allows_spell(once.answer["spell_key"]):
        raise may_not_cast(key, once.answer["spell_key"])
    return Accepted(once.answer, replayed=True)


def castable_by(account_id: int, key: ApiKey | None, spell_key: str) -> Spell:
    """Return an active spell that the key, or without one a member of the account, may cast.

    Raise SpellNotFound, or Forbidden if the key's list lacks it.
    """
    spell = SPELL.first(key=spell_key, account_id=account_id)
    if spell is not None and spell.active and spell.account_id in (None, account_id):
        if key is None or key.allows_spell(spell_key):
            return spell
        raise may_not_cast(key, spell_key)
    listed = "GET /api/v1/spells lists what this key may cast." if key else "The page Spells lists what there is."
    raise SpellNotFound(f"There is no active spell {spell_key!r}. {listed}")


def may_not_cast(key: ApiKey, spell_key: str) -> Forbidden:
    return Forbidden(f"This API key may not cast {spell_key!r}; it may cast {', '.join(key.spell_keys or [])}.")
