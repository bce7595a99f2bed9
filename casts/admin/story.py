"""The whole story of one cast, in order of time: what it went through, what it cost, who was told, and who acted.

Each kind of line comes from one table, in one query, and is for who may view that table. Apps above this one add theirs
to SOURCES.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.audit.models import AuditEntry
from accounts.models import LedgerEntry
from casts.models import Callback, Cast
from core.admin.base import NOTHING, admin_link, as_words, money, table, two_lines
from core.db.documents import TextAt

MOST = 500  # lines of one kind


@dataclass(frozen=True)
class Line:
    """Something that happened. `path`: the name of its row's page in the admin, and the row's key."""

    at: dt.datetime
    kind: str
    what: Any  # text, or what core.admin.base made
    who: str = ""
    path: tuple[str, object] | None = None
    more: str = ""


@dataclass(frozen=True)
class Source:
    """One table's lines about a cast, for who has the permission."""

    named: str
    permission: str
    lines: Callable[[Cast], Iterable[Line]]


def of_events(cast: Cast) -> Iterable[Line]:
    # Of the events' data only what is shown is read.
    told = {name: TextAt("data", name) for name in ("status", "status_reason", "progress", "message")}
    events = cast.events.annotate(**told).order_by("seq").values("id", "seq", "kind", "at", "by", *told)[:MOST]
    for event in events:
        state = f"{event['status']}: {as_words(event['status_reason'])}, {event['progress']} %"
        path = ("admin:casts_castevent_change", event["id"])
        kind = f"{event['seq']} {as_words(event['kind'])}"
        yield Line(event["at"], kind, event["message"], who=event["by"], path=path, more=state)


def of_ledger(cast: Cast) -> Iterable[Line]:
    entries = LedgerEntry.objects.filter(cast_id=cast.pk).select_related("period").order_by("id")
    for entry in entries[:MOST]:
        booked = f"booked to {entry.period.month:%Y-%m}" + (", on credit" if entry.on_credit else "")
        path = ("admin:accounts_ledgerentry_change", entry.pk)
        yield Line(entry.at, entry.kind, money(entry.cents), path=path, more=booked)


def of_audit(cast: Cast) -> Iterable[Line]:
    entries = AuditEntry.objects.filter(object_kind="cast", object_id=str(cast.pk)).order_by("id")
    for entry in entries[:MOST]:
        where = ", ".join(
            part for part in (entry.address and f"from {entry.address}", f"request {entry.request_id}") if part
        )
        path = ("admin:accounts_auditentry_change", entry.pk)
        yield Line(
            entry.at, entry.action, f"asked by {entry.actor_kind}", entry.actor, path, where if entry.request_id else ""
        )


def of_callbacks(cast: Cast) -> Iterable[Line]:
    callbacks = Callback.objects.filter(cast=cast).order_by("id").prefetch_related("tries")
    for callback in callbacks[:MOST]:
        path = ("admin:casts_callback_change", callback.pk)
        yield Line(callback.created_at, "callback owed", callback.url, path=path, more=callback.type)
        for number, one in enumerate(callback.tries.all()[:MOST], 1):
            came = str(one.status_code or one.error or NOTHING)
            took = f"took {one.duration_ms:,} ms" + (f": {one.error}" if one.status_code and one.error else "")
            yield Line(one.at, f"callback, try {number}", f"{came} from {one.url}", path=path, more=took)


SOURCES = [
    Source("its history", "casts.view_cast", of_events),
    Source("ledger entries", "accounts.view_ledgerentry", of_ledger),
    Source("audit log", "accounts.view_auditentry", of_audit),
    Source("callbacks", "casts.view_callback", of_callbacks),
]


def of(cast: Cast, user: Any) -> SafeString:
    """Return what happened as a table, with the time between the lines."""
    seen = [source for source in SOURCES if user.has_perm(source.permission)]
    hidden = [source.named for source in SOURCES if source not in seen]
    # Of lines of one moment the cast's own come first: sorting is stable, and its events are read first.
    lines = sorted((line for source in seen for line in source.lines(cast)), key=lambda line: line.at)
    rows, before = [], cast.created_at
    for line in lines:
        rows.append([moment(line.at), gap(line.at - before), linked(line, user), what(line), line.who or NOTHING])
        before = line.at
    drawn = table(["UTC", "after", "event", "what", "who"], rows)
    if not hidden:
        return format_html("{}", drawn)
    return format_html('{}<p class="help">Not shown, for want of permission: {}.</p>', drawn, ", ".join(hidden))


def moment(at: dt.datetime) -> SafeString:
    at = at.astimezone(dt.UTC)
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S.%f}",
                       f"{at:%m-%d %H:%M:%S}")  # fmt: skip


def gap(between: dt.timedelta) -> str:
    """Return a time between two lines as a person reads it; nothing where it is nothing to speak of."""
    seconds = between.total_seconds()
    if abs(seconds) < 0.005:
        return ""
    if abs(seconds) < 60:
        return f"{seconds:+,.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"+{hours:,} h {minutes} min" if hours else f"+{minutes} min {rest} s"


def linked(line: Line, user: Any) -> Any:
    return (
        admin_link(line.path[0], line.kind, line.path[1]) if line.path and may_open(line.path[0], user) else line.kind
    )


def may_open(name: str, user: Any) -> bool:
    app, _, model = name.removeprefix("admin:").removesuffix("_change").rpartition("_")  # app labels may have a _
    return bool(user.has_perm(f"{app}.view_{model}"))


def what(line: Line) -> Any:
    return two_lines(line.what, line.more) if line.more else line.what
