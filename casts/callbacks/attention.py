"""What needs an operator: receivers that do not take what they are sent."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from casts.callbacks import endpoints, schedule
from casts.models import Callback, CallbackEndpoint, CallbackType
from core.admin.attention import (
    OLDEST,
    RECENT,
    Report,
    Row,
    Section,
    Trouble,
    User,
    Values,
    buttons,
    listed,
    may,
    trouble_filter,
)
from core.admin.base import admin_link, code
from core.queue.due import GIVE_UP_AFTER

MANY_TRIES = 3  # the third comes after five minutes: what lasts so long may not pass by itself
LONGEST_TRIED = sum(schedule.SCHEDULE, dt.timedelta())
WORDS = {"failed": "given up", "pending": "failing, to be tried again"}


def needing_attention(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Annotate callbacks that do not arrive with their `trouble` and since when (`since`); leave out the others."""
    # What was given up within RECENT was made at most LONGEST_TRIED before that.
    given_up = Q(state=Callback.State.FAILED, created_at__gt=timezone.now() - RECENT - LONGEST_TRIED)
    failing = Q(state=Callback.State.PENDING, attempts__gte=MANY_TRIES) & ~Q(last_error="")
    failing |= Q(state=Callback.State.PENDING, failed_steps__gt=GIVE_UP_AFTER)
    # Who sends a test looks at what came of it.
    real = rows.exclude(type=CallbackType.TEST)
    undelivered = real.filter(state__in=WORDS).annotate(since=F("created_at"), trouble=F("state"))
    found: QuerySet[Any] = undelivered.filter(given_up | failing)
    return found


def callbacks_in(rows: QuerySet[Any], word: str) -> QuerySet[Any]:
    return needing_attention(rows).filter(state=word)


CallbackTroubles = trouble_filter(WORDS, callbacks_in)


ADVICE = {
    "failed": "Nobody tries again by itself. Once the receiver answers, send them again.",
    "pending": "They are tried again by themselves, ten times over three days. The receiver's owner must fix it.",
}


def what(first: Values) -> str:
    callbacks = "callback" if first["counted"] == 1 else "callbacks"
    return f"{callbacks} {WORDS[first['trouble']].split(',')[0]}, for {first['account__name']}"


def line(row: Values, first: Values) -> tuple[str, str]:
    why = f"To {row['url']}, tried {row['attempts']} times."
    return code(row["pk"]), why if row["last_error"] == first["last_error"] else f"{why} {row['last_error']}"


REPORT = Report(
    "casts_callback",
    rows=lambda: needing_attention(Callback.objects.all()),
    by=["account_id"],
    filters=lambda first: {"account__id__exact": first["account_id"]},
    show=("account__name", "url", "last_error", "attempts"),
    what=what,
    why=lambda first: first["last_error"],
    advice=lambda first: ADVICE[first["trouble"]],
    line=line,
    action=("send_again", "Send again", "Send all again"),
    mild=lambda first: first["trouble"] == "pending",
)


def failing_callbacks(user: User) -> Section | None:
    section = REPORT.section("Callbacks", user)
    return section and replace(section, troubles=(*section.troubles, *gone_endpoints(user)))


def gone_endpoints(user: User) -> list[Trouble]:
    if not may(user, "casts.view_callbackendpoint"):
        return []
    allowed = may(user, "casts.change_callbackendpoint")
    gone = CallbackEndpoint.objects.filter(
        active=False, deleted_at=None, disabled_at__gt=timezone.now() - RECENT, disabled_reason=endpoints.ANSWERED_GONE
    )
    rows = list(gone.order_by("disabled_at").values("id", "url", "disabled_at", "account__name"))
    if not rows:
        return []
    oldest = tuple(
        Row(
            admin_link("admin:casts_callbackendpoint_change", row["url"], row["id"]),
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
