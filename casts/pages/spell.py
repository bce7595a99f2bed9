"""What a spell's page says beside its form: what a cast costs, what is left for it, and the same for programs."""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts import credit
from accounts.errors import BudgetExceeded
from accounts.models import Account, BudgetCap, BudgetPeriod, BudgetScope, Membership, Role, month_of
from casts.forms.outputs import Outline, outline
from casts.forms.showing import Node, Wrong
from casts.forms.snippets import Snippet, snippets
from casts.models import Spell
from casts.pages.catalogue import price_words, usual_words
from casts.pages.filling import Filling
from casts.pricing import Price
from casts.spells import history
from core.errors import SpellError
from core.money import money

PAYERS = (Role.OWNER, Role.ADMIN)


class SpellPage:
    """Reads what its template asks for."""

    def __init__(
        self,
        membership: Membership,
        spell: Spell,
        filling: Filling,
        *,
        once: uuid.UUID | None = None,
        notes: list[str] | None = None,
    ) -> None:
        self.membership, self.spell, self.filling = membership, spell, filling
        self.once = once or uuid.uuid4()
        self.notes = [*(notes or []), *filling.notes]
        self.problem = ""  # why nothing was cast, where that is not about a field
        self.remedy = ""  # the code of that problem

    @property
    def account(self) -> Account:
        return self.membership.account

    @property
    def may_cast(self) -> bool:
        return Role(self.membership.role).includes(Role.MEMBER)

    @property
    def may_pay(self) -> bool:
        return self.membership.role in PAYERS

    @cached_property
    def _shown(self) -> tuple[Node, list[Wrong]]:
        return self.filling.shown()

    @property
    def form(self) -> Node:
        return self._shown[0]

    @property
    def wrong(self) -> list[Wrong]:
        return self._shown[1]

    @property
    def title(self) -> str:
        return f"{'Not cast: ' if self.wrong or self.problem else ''}{self.spell.name}"

    @property
    def uploads(self) -> dict[str, int]:
        """Return how many bytes a file may have, so that a script can tell before it is sent."""
        return {"base64": settings.CAST_INPUT_MAX_CHARS * 3 // 4, "text": settings.CAST_INPUT_MAX_BYTES}

    # --- Price and budget --------------------------------------------------------------------------------------------

    @cached_property
    def cost(self) -> Price:
        return Price.of(self.spell)

    @property
    def price(self) -> str:
        return price_words(self.cost)

    @property
    def usual(self) -> list[str]:
        return usual_words(history.of_spells([self.spell.pk]).get(self.spell.pk))

    @cached_property
    def left(self) -> list[tuple[str, int]]:
        """Return what may still be spent, in cents: of each that has an end, with its words."""
        month = month_of(timezone.now())
        months = BudgetPeriod.objects.filter(account=self.account, month=month)
        rows = {row.scope: row for row in months if row.scope == BudgetScope.ACCOUNT or row.ref == self.spell.key}
        own, of_spell = rows.get(BudgetScope.ACCOUNT), rows.get(BudgetScope.SPELL)
        found: list[tuple[str, int]] = []
        cap = own.cap_cents if own else self.account.monthly_cap_cents
        if cap is not None:
            found.append(("of the account's budget this month", cap - (own.used_cents if own else 0)))
        if own is None:  # nothing was cast this month, so there are no counters yet
            caps = BudgetCap.objects.filter(account=self.account, scope=BudgetScope.SPELL, ref=self.spell.key)
            found += [("for this spell this month", cap.cap_cents) for cap in caps]
        elif of_spell is not None and of_spell.cap_cents is not None:
            found.append(("for this spell this month", of_spell.cap_cents - of_spell.used_cents))
        if (state := credit.state(self.account)) is not None:
            found.append(("of the account's credit", state.remaining_cents))
        return found

    @property
    def budget(self) -> list[str]:
        return [f"{money(max(cents, 0))} left {of_what}" for of_what, cents in self.left]

    @property
    def short(self) -> str:
        """Say that what is left would not pay for a cast; blank if it would."""
        if not (most := self.cost.max_cents) or all(cents >= most for _, cents in self.left):
            return ""
        return (
            f"A cast holds {money(most)} until it ends, which is more than is left. Casting is refused until there is "
            "more: open casts that end may give some of it back."
        )

    @property
    def ways_out(self) -> list[tuple[str, str]]:
        """Return where whoever may can do something about money that is not enough."""
        if not self.may_pay:
            return []
        names = {"account-budget": "Budget and caps"} | ({"money": "Credit"} if self.account.billed else {})
        return [(said, reverse(name, args=[self.account.pk])) for name, said in names.items()]

    # --- For programs ------------------------------------------------------------------------------------------------

    @property
    def base(self) -> str:
        return str(settings.PUBLIC_URL).rstrip("/")

    @property
    def snippets(self) -> list[Snippet]:
        return snippets(self.spell.key, self.filling.value, self.once)

    @property
    def partial(self) -> bool:
        """Whether something that was typed is not in the snippets."""
        return bool(self.filling.reading.mistakes)

    @cached_property
    def gives(self) -> Outline | None:
        return None if self.spell.output_schema is None else outline(self.spell.output_schema)

    @property
    def focus(self) -> Any:
        return self.filling.focus


WHOSE = {
    BudgetScope.ACCOUNT: "the account may spend this month",
    BudgetScope.SPELL: "the account may spend on this spell this month",
    BudgetScope.CREDIT: "the account has in credit",
}


def problem_words(problem: SpellError) -> str:
    """Return why nothing was cast, to people; amounts as all pages write them."""
    if not isinstance(problem, BudgetExceeded):
        return str(problem)
    of, needed = problem.extra, problem.extra["required_cents"]
    left = max(of["cap_cents"] - of["held_cents"] - of["captured_cents"], 0)
    told = (
        f"This cast needs {money(needed)}. Of the {money(of['cap_cents'])} that {WHOSE[BudgetScope(of['scope'])]}, "
        f"{money(left)} are left."
    )
    # A month that is too little for one cast of its own is so next month, too.
    wait = parse_datetime(of["resets_at"]) if of["resets_at"] and needed <= of["cap_cents"] else None
    return f"{told} There is more from {wait.day} {wait:%B} on." if wait else told
