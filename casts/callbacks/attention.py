"""What needs an operator on floor 2, continued: receivers that do not take what they are sent."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from casts.callbacks import outbox
from casts.models import Callback, CallbackEndpoint
from core.admin.attention import (
    OLDEST,
    RECENT,
    Row,
    Section,
    Trouble,
    User,
    buttons,
    grouped,
    listed,
    may,
    trouble_filter,
)
from core.admin.base import code, inside

MANY_TRIES = 3  # the third comes after five minutes: by then it is no hiccup
LONGEST_TRIED = sum(outbox.SCHEDULE, dt.timedelta())
WORDS = {"failed": "given up", "pending": "failing, to be tried again"}


def judged(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate callbacks that do not arrive with their `trouble` and since when; leave out the others."""
    given_up = Q(state=Callback.State.FAILED, created_at__gt=timezone.now() - RECENT - LONGEST_TRIED)
    failing = Q(state=Callback.State.PENDING, attempts__gte=MANY_TRIES) & ~Q(last_error="")
    undelivered = rows.filter(state__in=WORDS).annotate(since=F("created_at"), trouble=F("state"))
    found: QuerySet[Any] = undelivered.filter(given_up | failing)
    return found


def callbacks_in(rows: QuerySet[Any], word: str) -> QuerySet[Any]:
    """Return the callbacks in one trouble, for the admin's list."""
    return judged(rows).filter(state=word)


CallbackTroubles = trouble_filter(WORDS, callbacks_in)


def failing_callbacks(user: User) -> Section | None:
    """Tell of callbacks that were given up or fail repeatedly, and of endpoints that nobody wants any more."""
    if not may(user, "casts.view_callback"):
        return None
    allowed = may(user, "casts.change_callback")
    groups = grouped(
        judged(Callback.objects.all()), "trouble", "account_id", show=("account__name", "url", "last_error", "attempts")
    )
    troubles = [callbacks_trouble(group, allowed=allowed) for group in groups]
    return Section("Callbacks", (*troubles, *gone_endpoints(user)))


def callbacks_trouble(group: list[dict[str, Any]], *, allowed: bool) -> Trouble:
    """Return what to say of one account's callbacks in one trouble."""
    first = group[0]
    kind, count = first["trouble"], first["counted"]
    listing = listed("casts_callback", trouble=kind, account__id__exact=first["account_id"])
    advice = {
        "failed": "Nobody tries again by itself. Once the receiver answers, send them again.",
        "pending": "They are tried again by themselves, ten times over three days. The receiver's owner must mend it.",
    }[kind]
    return Trouble(
        f"callback{'' if count == 1 else 's'} {WORDS[kind].split(',')[0]}, for {first['account__name']}",
        count,
        first["since"],
        why=first["last_error"],
        advice=advice,
        path=listing,
        buttons=buttons(allowed and count > 1, listing, send_again="Send all again"),
        oldest=tuple(callback_row(row, first, allowed=allowed) for row in group),
        mild=kind == "pending",
    )


def callback_row(row: dict[str, Any], first: dict[str, Any], *, allowed: bool) -> Row:
    """Return one callback that does not arrive."""
    link = inside("admin:casts_callback_change", code(row["pk"]), row["pk"])
    why = f"To {row['url']}, tried {row['attempts']} times."
    if row["last_error"] != first["last_error"]:
        why += f" {row['last_error']}"
    path = listed("casts_callback", id__exact=row["pk"])
    return Row(link, row["since"], why, buttons(allowed, path, send_again="Send again"))


def gone_endpoints(user: User) -> list[Trouble]:
    """Return the endpoints that nobody switched off but their receiver's 410."""
    if not may(user, "casts.view_callbackendpoint"):
        return []
    allowed = may(user, "casts.change_callbackendpoint")
    gone = CallbackEndpoint.objects.filter(
        active=False, deleted_at=None, disabled_at__gt=timezone.now() - RECENT, disabled_reason=outbox.ANSWERED_GONE
    )
    rows = list(gone.order_by("disabled_at").values("id", "url", "disabled_at", "account__name"))
    if not rows:
        return []
    oldest = tuple(
        Row(
            inside("admin:casts_callbackendpoint_change", row["url"], row["id"]),
            row["disabled_at"],
            f"For {row['account__name']}",
            buttons(allowed, listed("casts_callbackendpoint", id__exact=row["id"]), enable="Enable"),
        )
        for row in rows[:OLDEST]
    )
    what = "endpoint was" if len(rows) == 1 else "endpoints were"
    advice = "Callbacks to them are stopped. If their owner did not mean that, enable them again."
    return [
        Trouble(
            f"{what} disabled: the receiver answered 410 Gone",
            len(rows),
            rows[0]["disabled_at"],
            advice=advice,
            path=listed("casts_callbackendpoint", active__exact=0),
            oldest=oldest,
            mild=True,
        )
    ]
