"""Which rule counts for what: the shortest of those that fit, else the setting."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.db.models import Q, QuerySet

from casts.models import Kept, RetentionRule, Spell

Whose = tuple[int | None, int | None]  # account, spell; None: any
NO_ONE: Whose = (None, None)
SETTINGS = {
    Kept.INPUT: "INPUT_RETENTION_DAYS",
    Kept.OUTPUT: "OUTPUT_RETENTION_DAYS",
    Kept.LOG: "LOG_RETENTION_DAYS",
    Kept.ARTIFACT: "ARTIFACT_RETENTION_DAYS",
    Kept.EVENT: "EVENT_RETENTION_DAYS",
    Kept.DELIVERY: "DELIVERY_RETENTION_DAYS",
    Kept.CALLBACK: "CALLBACK_RETENTION_DAYS",
    Kept.IDEMPOTENCY: "IDEMPOTENCY_RETENTION_DAYS",
    Kept.AUDIT: "AUDIT_RETENTION_DAYS",
}
# What holds a copy of something else goes with it at the latest.
COPIES = {
    Kept.IDEMPOTENCY: (Kept.INPUT,),  # the cast as it was accepted
    Kept.DELIVERY: (Kept.INPUT, Kept.LOG),  # a run's title may hold inputs; jobs' deliveries name its steps
}
# These go by themselves after the setting, whatever casts they are about: see webhooks.inbox and casts.lifecycle.
AT_MOST = (Kept.DELIVERY, Kept.IDEMPOTENCY)
TOLD = (Kept.INPUT, Kept.OUTPUT, Kept.LOG, Kept.ARTIFACT, Kept.EVENT, Kept.CALLBACK)
OF_CASTS = tuple(kind for kind in Kept if kind != Kept.AUDIT)


@dataclass(frozen=True)
class Rules:
    """All rules, as they are at one moment."""

    usual: dict[str, int]  # by kind; without it: for ever
    own: dict[str, dict[Whose, int]] = field(default_factory=lambda: defaultdict(dict))

    def days(self, kind: str, account_id: int | None = None, spell_id: int | None = None) -> int | None:
        """Return for how many days a kind of thing is kept, None for ever; without a spell, of none."""
        found = [self._days(one, account_id, spell_id) for one in (kind, *COPIES.get(Kept(kind), ()))]
        return min((days for days in found if days is not None), default=None)

    def _days(self, kind: str, account_id: int | None, spell_id: int | None) -> int | None:
        own, usual = self.own[kind], self.usual.get(kind)
        fit = {(account_id, spell_id), (account_id, None), (None, spell_id)} - {NO_ONE}
        shortest = min((own[whose] for whose in fit if whose in own), default=usual)
        return shortest if usual is None or shortest is None or kind not in AT_MOST else min(shortest, usual)

    def of_casts(self, account_id: int, spell: Spell) -> dict[str, int | None]:
        """Return for how many days what casts of a spell hold is kept, as callers are told."""
        return {kind.value: self.days(kind, account_id, spell.pk) for kind in TOLD}

    def all_days(self, kinds: Iterable[str]) -> list[int]:
        """Return all numbers of days that occur for these kinds, the least first."""
        of_kinds = {*kinds, *(one for kind in kinds for one in COPIES.get(Kept(kind), ()))}
        found = {days for kind in of_kinds for days in self.own[kind].values()}
        return sorted(found | {self.usual[kind] for kind in of_kinds if kind in self.usual and kind not in AT_MOST})

    @property
    def newest_spell(self) -> int:
        return max((spell_id or 0 for own in self.own.values() for _, spell_id in own), default=0)

    def fingerprint(self, upto: int) -> str:
        """Return what tells these rules from others, as far as they are not about spells numbered above `upto`."""
        told = sorted(
            (kind, str(whose), days)
            for kind, own in self.own.items()
            for whose, days in own.items()
            if (whose[1] or 0) <= upto
        )
        digest = hashlib.sha256(repr((sorted(self.usual.items()), told)).encode()).hexdigest()
        return f"{upto} {digest[:40]}"


def load() -> Rules:
    """Return all rules there are."""
    return made_of(RetentionRule.objects.all(), Spell.objects.only("artifact_retention_days", "retention"))


def load_for(account_id: int, spells: Sequence[Spell]) -> Rules:
    """Return the rules that count for an account, and its casts of these spells."""
    own = RetentionRule.objects.filter(Q(account=None) | Q(account=account_id), Q(spell=None) | Q(spell__in=spells))
    return made_of(own, spells)


def made_of(own: QuerySet[RetentionRule], spells: Iterable[Spell]) -> Rules:
    rules = Rules({kind.value: days for kind, name in SETTINGS.items() if (days := getattr(settings, name))})

    def add(kind: str, whose: Whose, days: int) -> None:
        rules.own[kind][whose] = min(days, rules.own[kind].get(whose, days))

    for kind, account_id, spell_id, days in own.values_list("kind", "account", "spell", "days"):
        add(kind, (account_id, spell_id), days)
    for spell in spells:
        add(Kept.ARTIFACT, (None, spell.pk), spell.artifact_retention_days)
        for kind, days in spell.retention.items():
            add(kind, (None, spell.pk), days)
    return rules
