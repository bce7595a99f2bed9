"""Finding casts of an account: what somebody typed, and the filters beside it."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import uuid
from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.http import urlencode

from accounts.models import ApiKey, Membership, Role
from casts import rows
from casts.access import of_spells
from casts.models import OPEN, Cast, CastStatus, MetadataMark, Spell, mark_of
from core.ids import beginning, first_id, made_at
from core.numbers import natural
from core.times import day_text, midnight

# Text is looked for in so many of the account's newest casts: a look through millions would hold up everybody.
TEXT_IN = 20_000
# A status, a spell or a key is looked for in so many at a time: no index has the few that match among millions.
LOOKED_AT = 20_000
DIGITS = re.compile(r"[0-9a-f]{4,32}")
ENTRY = re.compile(r"\s*([^\s=]+)\s*=\s*(.+?)\s*")
SINCE = {"today": ("today", 0), "week": ("the last 7 days", 7), "month": ("the last 30 days", 30)}
TYPED_CHARS = 200
MOST_NAMED = 1000  # spells, people or keys whose names have what was typed


@dataclass
class Page:
    """Casts of one page, newest first, and the ids from which the pages beside it begin."""

    casts: list[Cast]
    newer: uuid.UUID | None = None
    older: uuid.UUID | None = None
    first: bool = True  # nothing newer is left out
    upto: dt.date | None = None  # it was not looked further back than that, and there are more casts


@dataclass
class Wanted:
    """What a query asks for. What can't be read counts as not asked."""

    membership: Membership
    query: QueryDict

    @property
    def whole(self) -> bool:
        return Role(self.membership.role).reads_contents

    @cached_property
    def typed(self) -> str:
        return self.query.get("q", "").replace("\0", "").strip()[:TYPED_CHARS]

    @cached_property
    def status(self) -> str:
        return self._one_of("status", [*CastStatus.values, "open"])

    @cached_property
    def since(self) -> str:
        return self._one_of("since", list(SINCE))

    @cached_property
    def spell(self) -> str:
        return self.query.get("spell", "").replace("\0", "")[:TYPED_CHARS]

    @cached_property
    def days(self) -> dict[str, dt.date]:
        """Return the first and last day (UTC) of acceptance, as the pages about money ask for: both, one or none."""
        found = {}
        for name in ("from", "to"):
            with contextlib.suppress(ValueError):
                found[name] = dt.date.fromisoformat(self.query.get(name, ""))
        return found

    @cached_property
    def key(self) -> str:
        """Return the id of the key that casts were placed with; none: by members. Viewers don't see who cast."""
        value = self.query.get("key", "") if self.whole else ""
        return value if value == "none" or natural(value) is not None else ""

    @property
    def also(self) -> str:
        """Return in words what is asked for beside the fields of the form."""
        words = [f"{name} {day_text(day)}" for name, day in self.days.items()]
        by = {"": "", "none": "without a key"}.get(self.key, f"with the key {self.key}")
        return ", ".join(filter(None, [" ".join(words), by]))

    @property
    def hidden(self) -> dict[str, str]:
        return {name: day.isoformat() for name, day in self.days.items()} | ({"key": self.key} if self.key else {})

    @cached_property
    def mine(self) -> bool:
        return self.query.get("mine") == "1"

    def _one_of(self, name: str, values: list[str]) -> str:
        value = self.query.get(name, "")
        return value if value in values else ""

    @property
    def narrowed(self) -> bool:
        return bool(self.status or self.since or self.spell or self.mine or self.hidden)

    @property
    def filtered(self) -> bool:
        return bool(self.typed) or self.narrowed

    def address(self, **more: object) -> str:
        """Return the query of another page of the same."""
        kept = {"q": self.typed, "status": self.status, "spell": self.spell, "since": self.since} | self.hidden
        kept |= {"mine": "1" if self.mine else ""} | {name: str(value) for name, value in more.items()}
        return "?" + urlencode({"account": self.membership.account_id} | {n: v for n, v in kept.items() if v})

    # --- The casts -----------------------------------------------------------------------------------------------

    def page(self) -> Page:
        casts = self._found()
        older, newer = self._place("older"), self._place("newer")
        if newer is not None and older is None:
            # The page before: the nearest ones, in the other order.
            near = self._near(newer, older=False)
            some = list(casts.filter(pk__gt=newer, **near).order_by("pk")[: rows.SHOWN + 1])
            more, some = len(some) > rows.SHOWN, some[: rows.SHOWN][::-1]
            if not some:
                return self._from(casts)
            return Page(some, some[0].pk if more else None, some[-1].pk, first=not more)
        return self._from(casts if older is None else casts.filter(pk__lt=older), after=older)

    def _from(self, casts: QuerySet[Cast], after: uuid.UUID | None = None) -> Page:
        near = self._near(after, older=True)
        some = list(casts.filter(**near).order_by("-pk")[: rows.SHOWN + 1])
        more, some = len(some) > rows.SHOWN, some[: rows.SHOWN]
        newer = (some[0].pk if some else after) if after is not None else None
        page = Page(some, newer, some[-1].pk if more else None, first=after is None)
        if near and not more:  # the page after this one goes on where it was not looked any more
            page.older, page.upto = near["pk__gte"], made_at(near["pk__gte"]).date()
        return page

    def _near(self, start: uuid.UUID | None, *, older: bool) -> dict[str, uuid.UUID]:
        """Return a bound for what is looked at from a place on, unless few are or an index has what is asked for."""
        if self.typed or not (self.spell or self.key or self.status not in ("", "open")):
            return {}
        ours = self._in_time(Cast.objects.filter(account=self.membership.account_id))
        if start is not None:
            ours = ours.filter(pk__lt=start) if older else ours.filter(pk__gt=start)
        pks = ours.order_by("-pk" if older else "pk").values_list("pk", flat=True)
        return {"pk__gte" if older else "pk__lte": last for last in pks[LOOKED_AT - 1 : LOOKED_AT]}

    def _place(self, name: str) -> uuid.UUID | None:
        try:
            return uuid.UUID(self.query.get(name, "")) if name in self.query else None
        except ValueError:
            return None

    def _found(self) -> QuerySet[Cast]:
        casts = rows.casts().filter(account=self.membership.account_id)
        if self.status:
            casts = casts.filter(status__in=OPEN if self.status == "open" else [self.status])
        if self.spell:
            casts = casts.filter(of_spells([self.spell]))
        if self.mine:
            casts = casts.filter(placed_by=self.membership.user_id)
        if self.key:
            casts = casts.filter(api_key=None) if self.key == "none" else casts.filter(api_key=int(self.key))
        casts = self._in_time(casts)
        return self._matching(casts) if self.typed else casts

    def _in_time(self, casts: QuerySet[Cast]) -> QuerySet[Cast]:
        if first := self.days.get("from"):
            casts = casts.filter(pk__gte=first_id(midnight(first)))
        if (last := self.days.get("to")) and last < dt.date.max:
            casts = casts.filter(pk__lt=first_id(midnight(last + dt.timedelta(days=1))))
        if self.since:
            first = timezone.now().date() - dt.timedelta(days=SINCE[self.since][1])
            casts = casts.filter(pk__gte=first_id(midnight(first)))
        return casts

    def _matching(self, casts: QuerySet[Cast]) -> QuerySet[Cast]:
        ours = Cast.objects.filter(account=self.membership.account_id)
        if (span := span_of(self.typed)) and ours.filter(pk__range=span).exists():
            return casts.filter(pk__range=span)
        if self.whole and (entry := ENTRY.fullmatch(self.typed)):
            mark = mark_of(self.membership.account_id, entry[1], entry[2])
            return casts.filter(pk__in=MetadataMark.objects.filter(mark=mark).values("cast"))
        oldest = ours.order_by("-pk").values_list("pk", flat=True)[TEXT_IN - 1 : TEXT_IN]
        return casts.filter(self._text(), *(Q(pk__gte=one) for one in oldest))

    def _text(self) -> Q:
        spells = Spell.objects.filter(Q(name__icontains=self.typed) | Q(key__icontains=self.typed))
        found = Q(spell__in=list(spells.values_list("pk", flat=True)[:MOST_NAMED]))
        if self.whole:
            people = User.objects.filter(username__icontains=self.typed, accounts=self.membership.account_id)
            keys = ApiKey.objects.filter(account=self.membership.account_id)
            keys = keys.filter(Q(name__icontains=self.typed) | Q(prefix__icontains=self.typed))
            found |= Q(placed_by__in=list(people.values_list("pk", flat=True)[:MOST_NAMED]))
            found |= Q(api_key__in=list(keys.values_list("pk", flat=True)[:MOST_NAMED]))
            found |= Q(metadata__icontains=self.typed)
        return found


def span_of(typed: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Return the least and the greatest id that begins as somebody typed it; None for what is no beginning of one."""
    digits = typed.lower().replace("-", "")
    if not DIGITS.fullmatch(digits):
        return None
    return beginning(digits)
