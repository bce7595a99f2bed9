"""The texts of a cast's page. Pure. The page's script has none of its own but durations: it fetches the page again."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from urllib.parse import urlsplit

from casts.models import PriceKind
from casts.pages.texts import duration, time_text
from casts.pages.trouble import remarks
from core.money import money
from core.numbers import counted

SIZES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def page_state(shown: dict[str, Any], now: dt.datetime) -> dict[str, Any]:
    """Return what the page shows of a cast, from the cast as the API shows it (`shown`)."""
    final = shown["final"]
    since = shown["started_at"] or shown["created_at"]
    return {
        "title": f"{shown['status'].title() if final else str(shown['progress']) + ' %'} · {shown['spell_name']}",
        "icon": f"casts/icons/{shown['status']}.svg",
        "copying": final and any(one["state"] == "pending" for one in shown["artifacts"]),
        "progress_words": f"{shown['progress']} %" + (f", {shown['step']}" if shown["step"] else ""),
        "progress_shown": progress_shown(shown),
        "price": price(shown),
        "charge_note": (shown["charge"] or {}).get("note"),
        "times": [
            {"label": label, "name": name, "iso": shown[name], "text": time_text(shown[name])}
            for label, name in (("Created", "created_at"), ("Started", "started_at"), ("Finished", "finished_at"))
        ],
        "ended": {"iso": shown["finished_at"], "text": time_text(shown["finished_at"])} if final else None,
        "clock_label": clock_label(shown),
        "clock": {"since": since, "until": shown["finished_at"], "text": duration(since, shown["finished_at"], now)},
        "events_path": path_of(shown["events_url"]),
        "run_url": shown["run_url"] if is_web_address(shown["run_url"]) else None,
        "remarks": remarks(shown),
    }


REMOVED = {
    "input": "What was asked",
    "output": "Its output",
    "log": "What its run said: steps and annotations",
    "event": "Its history",
    "callback": "The record of its callbacks",
}


def removed(shown: dict[str, Any]) -> list[str]:
    """Return what was deleted of a cast, in words."""
    return [
        f"{words} was deleted after {counted(shown['removed'][kind]['days'], 'day')}."
        for kind, words in REMOVED.items()
        if kind in shown["removed"]
    ]


def progress_shown(shown: dict[str, Any]) -> bool:
    # A cast that failed has a progress of 100, too, wherever its run stopped: no bar is shown rather than a full one.
    return not shown["final"] or shown["status"] == "succeeded"


def price(shown: dict[str, Any]) -> str:
    """Return what a cast costs, and what became of that."""
    cost, charged, minutes = shown["cost_cents"], shown["charged_cents"], (shown["charge"] or {}).get("minutes")
    if not cost:
        return "free"
    held = money(cost)
    if charged is None:  # also for casts that ended before releases stored what they were charged
        up_to = "" if shown["price"]["kind"] == PriceKind.FLAT else "up to "
        return held if shown["final"] else f"{up_to}{held}, held"
    if not charged:
        return f"{held}, given back"
    time = f" for {counted(minutes, 'minute')}" if minutes else ""
    rest = f"; {money(cost - charged)} given back" if charged < cost else ""
    return f"{money(charged)}, charged{time}{rest}"


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def clock_label(shown: dict[str, Any]) -> str:
    if shown["final"]:
        return "Took" if shown["started_at"] else "Ended after"
    return "Running for" if shown["started_at"] else "Waiting for"


def size(count: int | None) -> str:
    """Return a number of bytes for people, with one decimal, not rounded up; blank if it is unknown."""
    if count is None:
        return ""
    for name, unit in SIZES:
        if count >= unit:
            tenths = count * 10 // unit
            return f"{tenths // 10}.{tenths % 10} {name}"
    return counted(count, "byte")


def path_of(url: str) -> str:
    # Without our host: the page may be open under another name of it.
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


def is_web_address(url: str | None) -> bool:
    # The link comes from outside: a javascript: address would run in our page.
    return urlsplit(url or "").scheme in ("http", "https")
