"""The texts of a cast's page. Pure. The page's script has none of its own but durations: it fetches the page again."""

from __future__ import annotations

import datetime as dt
import json
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from django.utils.dateparse import parse_datetime

from casts.models import PriceKind
from casts.runtime import Words
from core.money import money

# How the step in which a run ended is described; one that its job's time limit cut off did not fail by itself.
ENDED_WORDS = {"cancelled": "was cancelled", "timed_out": "timed out"}
STEP_WORDS = {"success": "done", "neutral": "done", "failure": "failed", "timed_out": "timed out"}
SIZES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def page_state(shown: dict[str, Any], now: dt.datetime, words: Words, *, show_input: bool = True) -> dict[str, Any]:
    """Return what the page shows of a cast, from the cast as the API shows it (`shown`)."""
    final, error = shown["final"], shown["error"] or {}
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
        "clock_label": clock_label(shown),
        "clock": {"since": since, "until": shown["finished_at"], "text": duration(since, shown["finished_at"], now)},
        "events_path": path_of(shown["events_url"]),
        "run_url": shown["run_url"] if is_web_address(shown["run_url"]) else None,
        "no_steps": "There are no steps." if final else "They appear when the run has begun.",
        "jobs": jobs(shown["steps"], final=final, now=now),
        "artifacts": [artifact(one, words) for one in shown["artifacts"]],
        "output": None if shown["output"] is None else pretty(shown["output"]),
        "input": pretty(shown["input"]) if show_input else None,
        "failed_job": error.get("failed_job"),
        "failed_step": error.get("failed_step"),
        "failed_word": failed_word(shown),
        "error_detail": "" if error.get("failed_step") or error.get("annotations") else error.get("message", ""),
        "annotations": [annotation(one) for one in error.get("annotations", [])],
        "summary": shown["summary"],
        "remarks": remarks(shown),
        "errors": error.get("errors", []),
        "log": [{"text": line, "level": log_level(line)} for line in error.get("log_tail", [])],
    }


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


def counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def clock_label(shown: dict[str, Any]) -> str:
    if shown["final"]:
        return "Took" if shown["started_at"] else "Ended after"
    return "Running for" if shown["started_at"] else "Waiting for"


def jobs(steps: list[dict[str, Any]], *, final: bool, now: dt.datetime) -> list[dict[str, Any]]:
    return [
        {"name": name, "steps": [step_line(step, final=final, now=now) for step in group]}
        for name, group in groupby(steps, key=lambda step: step["job"])
    ]


def step_line(step: dict[str, Any], *, final: bool, now: dt.datetime) -> dict[str, Any]:
    if step["status"] == "completed":
        state = step["conclusion"] or "success"
        word = STEP_WORDS.get(state, state.replace("_", " "))
    elif final:
        state, word = "skipped", "not finished"
    elif step["status"] == "in_progress":
        state, word = "running", "running"
    else:
        state, word = "waiting", "waiting"
    timed = step["started_at"] and state not in ("waiting", "skipped")
    since, until = (step["started_at"], step["completed_at"]) if timed else (None, None)
    text = duration(since, until, now) if since else ""
    words = {"name": step["name"], "state": state, "word": word}
    return words | {"since": since, "until": until, "duration": text, "began": time_text(since)[-12:-4]}


def failed_word(shown: dict[str, Any]) -> str:
    """Return how the step that the error names ended, in the words of the list of steps."""
    error = shown["error"] or {}
    named = (error.get("failed_job"), error.get("failed_step"))
    ends = [step["conclusion"] for step in shown["steps"] if (step["job"], step["name"]) == named]
    bad = [end for end in ends if end not in (None, "success", "skipped", "neutral")]
    return ENDED_WORDS.get(bad[0], "failed") if bad else "failed"


def annotation(one: dict[str, Any]) -> dict[str, str]:
    place = f"{one['file']}:{one['line']}" if one["file"] and one["line"] else one["file"] or ""
    return {"said": f"{one['title']}: {one['message']}" if one["title"] else one["message"], "place": place}


def remarks(shown: dict[str, Any]) -> list[dict[str, str]]:
    """Return the annotations that are not shown with the error already."""
    told = (shown["error"] or {}).get("annotations", [])
    return [
        annotation(one) | {"level": one["level"], "job": one["job"] or ""}
        for one in shown["annotations"] or []
        if {name: one[name] for name in one if name != "job"} not in told
    ]


def artifact(one: dict[str, Any], words: Words) -> dict[str, Any]:
    notes = {"pending": words.copying, "failed": words.not_copied, "expired": "no longer kept"}
    expires_at = one["expires_at"] if one["state"] == "stored" else None
    facts = [notes.get(one["state"], ""), size(one["size_bytes"])]
    return {
        "file_name": one["file_name"],
        "url": path_of(one["url"]) if one["state"] == "stored" else None,  # others have no bytes to send
        "facts": ", ".join(fact for fact in facts if fact),
        "digest": one["digest"] or "",
        "expires_at": expires_at,
        "expires_text": time_text(expires_at),
    }


def duration(since: str, until: str | None, now: dt.datetime) -> str:
    """Return the time from `since` to `until` (None: to now), in whole units."""
    begin, end = parse_datetime(since), parse_datetime(until) if until else now
    assert begin is not None
    assert end is not None
    seconds = int((end - begin).total_seconds())
    if seconds < 1:
        return "under 1 s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def time_text(stamp: str | None) -> str:
    """Return a time as the page has it until the script turns it into the reader's own zone; blank for none."""
    at = parse_datetime(stamp or "")
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC" if at else ""


def size(count: int | None) -> str:
    """Return a number of bytes for people, with one decimal, not rounded up; blank if it is unknown."""
    if count is None:
        return ""
    for name, unit in SIZES:
        if count >= unit:
            tenths = count * 10 // unit
            return f"{tenths // 10}.{tenths % 10} {name}"
    return counted(count, "byte")


def log_level(line: str) -> str:
    for level in ("error", "warning"):  # workflow commands, as runners write them to the log
        if line.startswith(f"##[{level}]"):
            return level
    return ""


def path_of(url: str) -> str:
    # Without our host: the page may be open under another name of it.
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


def is_web_address(url: str | None) -> bool:
    # The link comes from outside: a javascript: address would run in our page.
    return urlsplit(url or "").scheme in ("http", "https")
