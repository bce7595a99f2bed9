"""Acting on casts, on one or on thousands: what it would touch and cost is shown first, then it is done in small steps.

Each cast is a transaction of its own, guarded as the API's are: a form that is sent twice does nothing twice. A request
works for PATIENCE; what is left then is asked for again, with how many there are.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from casts import casting
from casts.callbacks.admin import send_again
from casts.lifecycle import ending, waking
from casts.models import FINAL, OPEN, AccountPrice, Callback, Cast, Spell
from core.admin.base import money
from core.admin.lists import Number
from core.errors import SpellError
from core.numbers import counted

PATIENCE = 20.0  # seconds that one request goes on acting
AT_ONCE = 50
SHOWN = 10  # spells and accounts in the preview

Keys = list[uuid.UUID]


@dataclass(frozen=True)
class Act:
    """What operators do to casts. `may`: to which of these at all; `do`: return those that it was done to."""

    action: str
    verb: str
    does: str  # said of several
    does_one: str
    done: str
    others: str
    may: Callable[[QuerySet[Cast]], QuerySet[Cast]]
    do: Callable[[Keys, str], Keys]
    costs: Callable[[Kinds], str]
    spends: bool = False  # new money: asked of a single cast, too, wherever its button is
    ends: bool = False  # can't be taken back: asked of a single cast, too, on its page


def look(keys: Keys, by: str) -> Keys:
    return waking.wake_all(keys, by=by)


def cancel(keys: Keys, by: str) -> Keys:
    # One that its caller cancels at this moment is not this operator's.
    mine = Q(pk__in=keys, cancel_reason="cancelled_by_operator")
    for key in keys:
        ending.cancel(key, by=by)
    return list(Cast.objects.filter(mine).order_by("pk").values_list("pk", flat=True))


def cast_again(keys: Keys, by: str) -> Keys:
    return [key for key in keys if casting.cast_again(key, by=by)]


def call_again(keys: Keys, by: str) -> Keys:
    told = []
    for callback in Callback.objects.filter(cast__in=keys).select_related("endpoint").order_by("pk"):
        try:
            send_again(callback, by=by)
        except SpellError:  # it is being sent, or its endpoint is off
            continue
        told.append(callback.cast_id)
    return [key for key in keys if key in told]


@dataclass(frozen=True)
class Kind:
    """Casts of one state, spell and account, counted."""

    status: str
    spell_id: int
    spell_key: str
    account_id: int
    account: str
    casts: int
    held_cents: int
    begun: int


Kinds = list[Kind]


def kinds_of(casts: QuerySet[Cast]) -> Kinds:
    """Count casts in one query: they may be all that there are."""
    rows = casts.order_by().values_list("status", "spell_id", "spell__key", "account_id", "account__name")
    begun = Count("pk", filter=Q(started_at__isnull=False))
    return [Kind(*row) for row in rows.annotate(number=Count("pk"), cents=Sum("cost_cents"), begun=begun)]


def held(kinds: Kinds) -> str:
    said = f"Up to {money(sum(kind.held_cents for kind in kinds))} that are held are given back."
    if begun := sum(kind.begun for kind in kinds):
        said += f" {begun:,} have begun: at a price per minute, their minutes are charged."
    return said


def price_now(kinds: Kinds) -> str:
    """Say what it costs to cast these once more, at today's prices."""
    spells = Spell.objects.in_bulk({kind.spell_id for kind in kinds})
    own = {(p.spell_id, p.account_id): p.price_cents for p in AccountPrice.objects.filter(spell__in=spells)}
    cents = sum(
        own.get((kind.spell_id, kind.account_id), spells[kind.spell_id].price_cents) * kind.casts for kind in kinds
    )
    return f"Holds up to {money(cents)} of their accounts' money anew, at today's prices; what runs cost is charged."


def nothing(kinds: Kinds) -> str:
    return "Costs nothing."


RETRIED = Cast.objects.filter(retry_of__isnull=False).order_by().values("retry_of")
LOOK = Act(
    "look_now",
    "Look now",
    "Has a worker look at them at once. Their turns, and all limits, stay.",
    "Has a worker look at it at once. Its turn stays.",
    "Casts that a worker looks at now",
    "have ended",
    may=lambda casts: casts.filter(status__in=OPEN),
    do=look,
    costs=nothing,
)
CANCEL = Act(
    "cancel",
    "Cancel",
    "Ends what was not sent yet, and asks for the runs of the others to be cancelled. This can't be taken back.",
    "Ends it if it was not sent yet, else asks for its run to be cancelled. Asks you first.",
    "Casts cancelled, or their runs asked to end",
    "had ended, or their run had, or were being cancelled already",
    may=lambda casts: casts.filter(status__in=OPEN, cancel_requested_at=None, run_finished_at=None),
    do=cancel,
    costs=held,
    ends=True,
)
RETRY = Act(
    "cast_again",
    "Cast again",
    "Makes a new cast of each, for the same caller, with the same input and its own price. A run that was started "
    "may have done its work.",
    "Makes a new cast with the same input and its own price. Tells the price and asks you first.",
    "Cast again",
    "are open, were cast again before, or can't be: their key, spell or budget does not allow it",
    # By the index of retries alone, which are few.
    may=lambda casts: casts.filter(status__in=FINAL).exclude(pk__in=RETRIED),
    do=cast_again,
    costs=price_now,
    spends=True,
)
CALLBACKS = Act(
    "send_callbacks_again",
    "Send callbacks again",
    "Sends what is owed to receivers with the same webhook-id; the schedule begins anew.",
    "Sends what is owed to receivers once more, with the same webhook-id.",
    "Casts whose callbacks are sent again",
    "have none, or theirs are being sent or go to endpoints that are off",
    may=lambda casts: casts.filter(pk__in=Callback.objects.filter(cast__isnull=False).values("cast")),
    do=call_again,
    costs=nothing,
)
ACTS = {act.action: act for act in (LOOK, CANCEL, RETRY, CALLBACKS)}


def asks(request: HttpRequest, act: Act) -> bool:
    """Whether the act only shows what it would do, to be confirmed."""
    if "confirmed" in request.POST:
        return False
    if request.POST.get("back") == "attention":  # whose buttons say how many there are
        return act.spends
    several = request.POST.get("select_across") == "1" or len(request.POST.getlist("_selected_action")) > 1
    return several or act.spends or act.ends


def run(console: Any, request: HttpRequest, queryset: QuerySet[Cast], act: Act) -> HttpResponse | None:
    """Show what the act would do with the chosen casts, or do it and report."""
    chosen = as_previewed(request, queryset)
    if asks(request, act):
        return preview(console, request, chosen, act)
    number = chosen.count()
    keys = list(act.may(chosen).order_by("pk").values_list("pk", flat=True))
    done, left = in_steps(act, keys, by=request.user.get_username())
    console.record(request, done, f"{act.verb}.")
    console.report(request, act.done, done=len(done), of=number - left, others=act.others)
    if not left:
        return None
    told = f"{left:,} are left: this took {PATIENCE:.0f} seconds already. Go on with them below."
    console.message_user(request, told, messages.WARNING)
    return preview(console, request, chosen, act)


def in_steps(act: Act, keys: Keys, *, by: str) -> tuple[Keys, int]:
    """Act for PATIENCE seconds; return what it was done to, and how many were not tried."""
    done: Keys = []
    until = time.monotonic() + PATIENCE
    for first in range(0, len(keys), AT_ONCE):
        some = keys[first : first + AT_ONCE]
        done += act.do(some, by)
        if time.monotonic() > until:
            return done, max(0, len(keys) - first - AT_ONCE)
    return done, 0


def as_previewed(request: HttpRequest, queryset: QuerySet[Cast]) -> QuerySet[Cast]:
    """Return the chosen casts without those that came since the preview was shown."""
    chosen = queryset.order_by()
    try:
        return chosen.filter(pk__lte=uuid.UUID(request.POST.get("upto", "")))
    except ValueError:
        return chosen


def preview(console: Any, request: HttpRequest, chosen: QuerySet[Cast], act: Act) -> HttpResponse:
    kinds = kinds_of(act.may(chosen))
    number, acting = chosen.count(), sum(kind.casts for kind in kinds)
    context = {
        **console.admin_site.each_context(request),
        "opts": console.opts,
        "title": f"{act.verb}: {counted(acting, 'cast')}",
        "act": act,
        "number": Number(number),
        "acting": Number(acting),
        "left_alone": Number(number - acting),
        "costs": act.costs(kinds) if acting else "",
        "groups": grouped(kinds),
        "only": act.may(chosen).select_related("spell", "account").first() if acting == 1 else None,
        "upto": chosen.order_by("-pk").values_list("pk", flat=True).first(),
        "patience": int(PATIENCE),
        "across": request.POST.get("select_across") == "1",
        "selected": request.POST.getlist("_selected_action"),
        "back": request.POST.get("back", ""),
        "path": request.get_full_path(),
    }
    return TemplateResponse(request, "admin/casts/cast/bulk.html", context)


def grouped(kinds: Kinds) -> list[tuple[str, Sequence[tuple[str, int]], int]]:
    """Return of which states, spells and accounts they are, each the most frequent first, and how many more kinds."""

    def by(title: str, name: str) -> tuple[str, Sequence[tuple[str, int]], int]:
        found: dict[str, int] = {}
        for kind in kinds:
            found[getattr(kind, name)] = found.get(getattr(kind, name), 0) + kind.casts
        ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
        return title, [(word, Number(count)) for word, count in ranked[:SHOWN]], len(ranked) - len(ranked[:SHOWN])

    return [by("State", "status"), by("Spell", "spell_key"), by("Account", "account")]


def for_one(cast_id: uuid.UUID) -> list[Act]:
    """Return the acts that a cast is open to."""
    open_to = {name: Exists(act.may(Cast.objects.filter(pk=OuterRef("pk")))) for name, act in ACTS.items()}
    found = Cast.objects.filter(pk=cast_id).annotate(**open_to).values(*open_to).first() or {}
    return [act for name, act in ACTS.items() if found.get(name)]
