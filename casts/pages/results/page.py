"""The parts of a cast's page that its run has made: `_result.html` and `_artifacts.html`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from casts.models import Cast
from casts.pages import presenter
from casts.pages.results import markdown, values
from casts.pages.results.budget import Budget
from casts.pages.results.files import files_of
from casts.versions import as_accepted
from core.limits import KIB

# Bytes of HTML: with 100 jobs, 100 artifacts and the end of a log the page stays below 300 KB.
VALUES, AS_JSON, SUMMARY = 40 * KIB, 24 * KIB, 32 * KIB


def result_of(cast: Cast, shown: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a cast's output, summary and artifacts; `shown`: the cast as its reader gets it."""
    return {"output": output_of(cast, shown), "summary": summary_of(shown), "files": files_of(cast, shown)}


def output_of(cast: Cast, shown: dict[str, Any]) -> dict[str, Any] | None:
    if (output := shown["output"]) is None:
        return None
    schema = as_accepted(cast).spell.output_schema
    beginning, cut = beginning_of(output)
    csv = beside(shown["events_url"], "output.csv")
    return {
        "value": values.shown(output, schema, Budget(VALUES)),
        "json": beginning,
        "json_cut": cut,
        "json_size": presenter.size(len(json.dumps(output, ensure_ascii=False, separators=(",", ":")).encode())),
        "json_url": beside(shown["events_url"], "output.json"),
        "csv_url": f"{csv}{'&' if '?' in csv else '?'}",
    }


def beginning_of(output: Any) -> tuple[str, bool]:
    """Return an output as JSON, as far as there is room for it, and whether that is not all."""
    pieces: list[str] = []
    size = 0
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(output):  # it is slow: no more than is shown
        pieces.append(piece)
        if (size := size + len(piece)) > AS_JSON:
            break
    text = "".join(pieces)
    beginning = Budget(AS_JSON).beginning(text)
    return beginning, size > AS_JSON or beginning != text


def summary_of(shown: dict[str, Any]) -> dict[str, Any] | None:
    if not (text := shown["summary"]):
        return None
    html = markdown.rendered(text)
    beginning = "" if html is not None else Budget(SUMMARY).beginning(text)
    return {
        "html": html,
        "text": beginning,
        "cut": html is None and beginning != text,
        "url": beside(shown["events_url"], "summary.md"),
    }


def beside(url: str, name: str) -> str:
    """Return the path of something beside what a link leads to, with the same token."""
    parts = urlsplit(url)
    path = f"{parts.path.rsplit('/', 1)[0]}/{name}"
    return f"{path}?{parts.query}" if parts.query else path
