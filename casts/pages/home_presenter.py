"""What the page says on which a member begins."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Q
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from accounts import credit
from accounts.models import BudgetPeriod, BudgetScope, Membership, Role, month_of
from casts.access import may_cast
from casts.models import Cast, CastStatus, Spell
from casts.pages import search
from casts.pages.search import SINCE, TEXT_IN, Page, Wanted
from casts.rows import Row
from core.money import money
from core.times import stamp

USED_IN, MOST_USED = 1000, 5  # of so many newest casts, so many spells
SPELLS_OFFERED = 200  # to filter by
STATUSES = {"open": "waiting or running", **{one.value: one.label.lower() for one in CastStatus}}


class Choice(NamedTuple):
    """One line of a select."""

    value: str
    text: str
    chosen: bool


class HomePage:
    """Reads what its template asks for."""

    def __init__(self, membership: Membership, query: QueryDict) -> None:
        self.membership, self.account = membership, membership.account
        self.wanted = Wanted(membership, query)
        self.whole = self.wanted.whole
        self.now = timezone.now()

    @property
    def may_cast(self) -> bool:
        return may_cast(Role(self.membership.role))

    @cached_property
    def found(self) -> Page:
        return self.wanted.page()

    @property
    def rows(self) -> list[Row]:
        return [Row(cast, whole=self.whole) for cast in self.found.casts]

    @property
    def empty(self) -> bool:
        """Whether nothing was ever cast here."""
        return not self.found.casts and not self.wanted.filtered and self.found.first

    @property
    def grows(self) -> bool:
        """Whether new casts are put on top: of a search nobody knows in the browser whether they belong to it."""
        return self.found.first and not self.wanted.filtered

    @property
    def events(self) -> str:
        return reverse("home-events", kwargs={"account_id": self.account.pk})

    @property
    def newer(self) -> str:
        return self.wanted.address(newer=self.found.newer) if self.found.newer else ""

    @property
    def older(self) -> str:
        return self.wanted.address(older=self.found.older) if self.found.older else ""

    @property
    def written_at(self) -> str | None:
        return stamp(self.now)

    # --- The form ------------------------------------------------------------------------------------------------

    @property
    def statuses(self) -> list[Choice]:
        return [Choice(value, text, value == self.wanted.status) for value, text in STATUSES.items()]

    @property
    def times(self) -> list[Choice]:
        return [Choice(value, text, value == self.wanted.since) for value, (text, _) in SINCE.items()]

    @cached_property
    def spells(self) -> list[Choice]:
        """Return the spells that the account may cast, and the one that is asked for."""
        ours = Spell.objects.seen_by(self.account.pk).order_by("name")
        found = ours.filter(Q(active=True) | Q(key=self.wanted.spell)).values_list("key", "name")[:SPELLS_OFFERED]
        return [Choice(key, name, key == self.wanted.spell) for key, name in found]

    @property
    def text_in(self) -> str:
        return f"{TEXT_IN:,}"

    @property
    def looked_at(self) -> str:
        return f"{search.LOOKED_AT:,}"

    # --- Beside it -----------------------------------------------------------------------------------------------

    @cached_property
    def money(self) -> dict[str, str] | None:
        """Return what this month's casts cost; None for a viewer, who sees nothing of the account's money."""
        if not self.whole:
            return None
        month = month_of(self.now)
        period = BudgetPeriod.objects.filter(account=self.account, month=month, scope=BudgetScope.ACCOUNT).first()
        held, spent = (period.held_cents, period.captured_cents) if period else (0, 0)
        cap = period.cap_cents if period else self.account.monthly_cap_cents
        left = [] if cap is None else [max(0, cap - held - spent)]
        if self.account.billed and (state := credit.state(self.account)) is not None:
            left.append(max(0, state.remaining_cents))
        return {
            "month": f"{month:%B}",
            "spent": money(spent),
            "held": money(held) if held else "",
            "left": money(min(left)) if left else "",
            "cap": "" if cap is None else money(cap),
        }

    @cached_property
    def latest(self) -> list[tuple[uuid.UUID, int]]:
        """Return the newest casts, whatever was looked for, and their spells."""
        newest_first = Cast.objects.filter(account=self.account).order_by("-pk")
        return list(newest_first.values_list("pk", "spell_id")[:USED_IN])

    @property
    def newest(self) -> uuid.UUID | None:
        return self.latest[0][0] if self.latest else None

    @cached_property
    def most_used(self) -> list[dict[str, Any]]:
        counted = Counter(spell for _, spell in self.latest).most_common(MOST_USED * 2)
        ours = Spell.objects.seen_by(self.account.pk).filter(active=True).only("key", "name")
        spells = ours.in_bulk([pk for pk, _ in counted])
        found = [{"spell": spells[pk], "times": times} for pk, times in counted if pk in spells]
        return found[:MOST_USED]
