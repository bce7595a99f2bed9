"""What an account spent as CSV: a line for each day and spell, or for each cast."""

from __future__ import annotations

from collections.abc import Iterator

from accounts import usage
from accounts.models import Account, ApiKey
from accounts.usage import Span
from casts.models import Spell
from core.csv_files import BOM, lines
from core.money import name, plain

ROWS_AT_ONCE = 2000
MONEY = ("cents", "amount", "currency")


def by_day_and_spell(account: Account, days: Span, spell_keys: list[str] | None) -> Iterator[str]:
    rows = usage.by_day_and_spell(account, days, spell_keys=spell_keys)
    names = Spell.objects.names({row.by for row in rows})
    yield BOM + lines([("day", "spell_key", "spell", "casts", *MONEY)])
    found = [(row.day, row.by, names.get(row.by, ""), row.casts, *amount(row.cents)) for row in rows]
    for first in range(0, len(found), ROWS_AT_ONCE):
        yield lines(found[first : first + ROWS_AT_ONCE])


def by_cast(account: Account, days: Span, spell_keys: list[str] | None, *, whole: bool) -> Iterator[str]:
    """Yield the file's lines, many at a time. `whole`: also with which key each was cast."""
    named: dict[str, str] = {}
    keys = dict(ApiKey.objects.filter(account=account).values_list("pk", "name")) if whole else {}
    of_key = ("key_id", "key") if whole else ()
    yield BOM + lines([("day", "cast_id", "spell_key", "spell", *of_key, *MONEY)])
    for some in usage.each(account, days, ROWS_AT_ONCE, spell_keys=spell_keys):
        named |= Spell.objects.names({row.spell_key for row in some} - named.keys())
        yield lines(
            (
                *(row.day, str(row.cast_id), row.spell_key, named.get(row.spell_key, "")),
                *((row.api_key_id, keys.get(int(row.api_key_id or 0), "")) if whole else ()),
                *amount(row.cents),
            )
            for row in some
        )


def amount(cents: int) -> tuple[int, str, str]:
    return cents, plain(cents), name()
