"""For how long things of an account are kept, as its members read it."""

from __future__ import annotations

from accounts.models import Account
from casts.models import Kept, Spell
from casts.retention import rules
from core.numbers import counted


def shown_to_members(account: Account) -> list[tuple[str, str]]:
    """Return each kind of thing and for how long it is kept, with the spells that differ."""
    seen = Spell.objects.seen_by(account.pk).filter(active=True).order_by("key")
    spells = list(seen.only("key", "artifact_retention_days", "retention"))
    known = rules.load_for(account.pk, spells)
    found = []
    for kind in Kept:
        usual = known.days(kind, account.pk)
        own = [] if kind == Kept.AUDIT else [(one.key, known.days(kind, account.pk, one.pk)) for one in spells]
        other = [f"{key}: {words(days)}" for key, days in own if days != usual]
        more = [f"and {len(other) - SHOWN:,} spells more"] if len(other) > SHOWN else []
        found.append((str(kind.label), "; ".join([words(usual), *other[:SHOWN], *more])))
    return found


SHOWN = 10  # spells of a kind


def words(days: int | None) -> str:
    return "for good" if days is None else counted(days, "day")
