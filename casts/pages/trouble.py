"""What went wrong, in the words of whoever wrote the workflow, and what its jobs remarked beside. Pure."""

from __future__ import annotations

from typing import Any

from core.numbers import counted

# How the step in which a run ended is described; one that its job's time limit cut off did not fail by itself.
ENDED_WORDS = {"cancelled": "was cancelled", "timed_out": "timed out"}


def trouble_of(shown: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the page shows of a cast's error, None if it has none."""
    if not (error := shown["error"]):
        return None
    said = [annotation(one) for one in error.get("annotations", [])]
    log = [{"text": line, "level": log_level(line)} for line in error.get("log_tail", [])]
    marked = sum(line["level"] == "error" for line in log)
    return {
        # The author's own sentence is worth more than ours about it.
        "headline": said[0] if said else {"said": error.get("message", ""), "place": ""},
        "others": said[1:],
        "failed_job": error.get("failed_job"),
        "failed_step": error.get("failed_step"),
        "failed_word": failed_word(shown),
        "errors": error.get("errors", []),
        "log": log,
        "log_count": counted(len(log), "line") + (f", {counted(marked, 'error')}" if marked else ""),
    }


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


def log_level(line: str) -> str:
    for level in ("error", "warning"):  # workflow commands, as runners write them to the log
        if line.startswith(f"##[{level}]"):
            return level
    return ""
