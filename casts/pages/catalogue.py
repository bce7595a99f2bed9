"""What there is to cast, for the members of an account: search, tags, prices, and how casts usually go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from accounts.models import Account
from casts.casting import priced_for
from casts.models import PriceKind, Spell
from casts.pages.texts import usually
from casts.pricing import Price
from casts.spells import history
from casts.spells.history import History
from core.money import money

SHOWN = 50  # spells of a page
FREE = "Free"


@dataclass
class Catalogue:
    """One page of it. `tags`: those of all spells that the account may see, with how many have each."""

    spells: list[dict[str, Any]]
    tags: list[tuple[str, int]]
    found: int
    all: int
    number: int
    pages: int
    query: str = ""
    tag: str = ""
    account: Account | None = None
    more: dict[str, str] = field(default_factory=dict)


def visible_to(account: Account) -> QuerySet[Spell]:
    """Return the active spells that an account may see, with what they cost it."""
    return priced_for(account.pk, Spell.objects.seen_by(account.pk).filter(active=True))


def catalogue(account: Account, *, query: str = "", tag: str = "", number: int = 1) -> Catalogue:
    """Return a page of what the account may see; in two queries, however many there are."""
    # The database would tell large from small letters in its own way; and these are few.
    every = sorted(visible_to(account).defer("input_schema", "output_schema"), key=lambda spell: spell.key)
    words = query.casefold().split()
    found = [
        spell for spell in every if (not tag or tag in spell.tags) and all(word in text_of(spell) for word in words)
    ]
    pages = max(1, -(-len(found) // SHOWN))
    number = min(max(number, 1), pages)
    shown = found[(number - 1) * SHOWN : number * SHOWN]
    histories = history.of_spells(spell.pk for spell in shown)
    return Catalogue(
        spells=[entry(spell, histories.get(spell.pk)) for spell in shown],
        tags=counted(every),
        found=len(found),
        all=len(every),
        number=number,
        pages=pages,
        query=query,
        tag=tag,
        account=account,
    )


def text_of(spell: Spell) -> str:
    return " ".join([spell.key, spell.name, spell.description, *spell.tags]).casefold()


def counted(spells: list[Spell]) -> list[tuple[str, int]]:
    every = [tag for spell in spells for tag in spell.tags]
    return [(tag, every.count(tag)) for tag in sorted(set(every))]


def entry(spell: Spell, past: History | None) -> dict[str, Any]:
    return {"spell": spell, "price": price_words(Price.of(spell)), "usual": usual_words(past)}


def price_words(price: Price) -> str:
    """Return what a cast costs, in words."""
    most = money(price.max_cents)
    if not price.max_cents:
        told = FREE
    elif price.kind == PriceKind.PER_MINUTE:
        told = f"{money(price.per_minute_cents or 0)} a minute, {most} at most"
    elif price.kind == PriceKind.REPORTED:
        told = f"As its run reports, {most} at most"
    else:
        told = f"{most} a cast"
    return f"{told} (your account's own price)" if price.for_account else told


def usual_words(past: History | None) -> list[str]:
    """Return how casts usually go, in a few words; nothing if there were too few."""
    if past is None:
        return []
    told = [] if past.usual_seconds is None else [f"usually takes {usually(past.usual_seconds)}"]
    return [*told, f"{int(past.success_rate * 100)} % of the last {past.casts} succeeded"]
