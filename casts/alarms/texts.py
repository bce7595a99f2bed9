"""What messages to operators say: what, since when, how many, where, and what to do. Nothing of casts' inputs."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

News = dict[str, Any]
PARTS = {"new": "New", "back": "Back again", "still": "Still there", "over": "Over"}
SHOWN = 20  # troubles of each part
SUBJECT_CHARS = 120


def host() -> str:
    return urlsplit(settings.PUBLIC_URL).hostname or "localhost"


def address(path: str) -> str:
    return settings.PUBLIC_URL + (path or reverse("attention"))


def subject(kind: str, news: News) -> str:
    """Return a subject that says how much has changed, and the first of it. One line."""
    if kind == "alarms.test":
        return f"[{host()}] A test of alarms"
    changed = [(name.lower(), news[part]) for part, name in PARTS.items() if news[part]]
    said = ", ".join(f"{len(items)} {name}" for name, items in changed)
    if not news["on"]:
        said = f"All clear: {said}"
    first = next(items[0]["what"] for _, items in changed)
    return f"[{host()}] {said}: {' '.join(first.split())}"[:SUBJECT_CHARS]


def mail(kind: str, news: News) -> str:
    if kind == "alarms.test":
        return (
            f"This is a test, asked for by {news.get('by', 'somebody')}. "
            f"Alarms of {settings.PUBLIC_URL} reach this address.\n\n"
            f"What needs attention: {address('')}\n"
        )
    parts = [part_of(name, news[part]) for part, name in PARTS.items() if news[part]]
    left = f"All that are on, {news['on']}" if news["on"] else "Nothing is left that needs attention"
    return "\n".join([*parts, f"{left}: {all_of(news)}", ""])


def all_of(news: News) -> str:
    """Return where all is that is on: not each alarm is of something that “Needs attention” knows."""
    return address(reverse("admin:casts_alarm_changelist") + "?state=on" if news.get("on") else "")


def part_of(name: str, items: list[News]) -> str:
    lines = [name.upper(), ""]
    for one in items[:SHOWN]:
        lines.append(f"* {one['section']}: {' '.join(one['what'].split())}")
        until = f", over {when(one['over_at'])}" if one["over_at"] else ""
        lines.append(f"  Since {when(one['since'])}{until}.")
        if one["advice"] and not one["over_at"]:
            lines.append(f"  {one['advice']}")
        lines += [f"  {address(one['path'])}", ""]
    if len(items) > SHOWN:
        lines += [f"And {len(items) - SHOWN} more.", ""]
    return "\n".join(lines)


def when(stamp: str) -> str:
    return f"{dt.datetime.fromisoformat(stamp).astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def data(news: News) -> News:
    """Return the news as a callback has them: with addresses in place of paths."""
    told = dict(news)
    for name in PARTS.keys() & news.keys():
        told[name] = [{**one, "url": address(one["path"])} for one in news[name]]
        for one in told[name]:
            del one["path"]
    return told | {"url": all_of(news)}
