"""What a run came to, whole, as files: its output as JSON, a table in it as CSV, and its summary."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from casts.access import readable_cast
from casts.errors import NoResult
from casts.models import Cast
from core import csv_files
from core.api.cors import open_to_pages
from core.api.etags import etag_of, is_current
from core.api.problems import of_error, problem
from core.db.threads import in_thread
from core.errors import SpellError
from core.limits import CSV_CELLS
from core.numbers import natural

Make = Callable[[HttpRequest, Cast], str]


def file_of(media_type: str, name: str, make: Make) -> Callable[..., Any]:
    @open_to_pages
    async def view(request: HttpRequest, cast_id: str) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return problem(405, "METHOD_NOT_ALLOWED", "Read results with GET.", headers={"Allow": "GET, HEAD"})
        try:
            body = await in_thread(request, made, request, cast_id, make)
        except SpellError as exc:
            return of_error(exc)
        headers = {"ETag": etag_of(body), "Cache-Control": "private, no-cache"}
        if is_current(request.headers.get("If-None-Match", ""), headers["ETag"]):
            return HttpResponse(status=304, headers=headers)
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return HttpResponse(body, content_type=media_type, headers=headers)

    return view


def made(request: HttpRequest, cast_id: str, make: Make) -> bytes:
    return make(request, readable_cast(request, cast_id).whole()).encode()


def as_json(request: HttpRequest, cast: Cast) -> str:
    return json.dumps(output_of(cast), indent=2, ensure_ascii=False) + "\n"


def output_of(cast: Cast) -> Any:
    if cast.output is None:
        raise NoResult("This cast has no output.")
    return cast.output


def as_markdown(request: HttpRequest, cast: Cast) -> str:
    if not cast.summary:
        raise NoResult("This cast has no summary.")
    return f"{cast.summary}\n"


def as_csv(request: HttpRequest, cast: Cast) -> str:
    place = request.GET.get("at", "")
    rows = found_at(output_of(cast), place)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise NoResult(f"There is no list of objects at {place[:100]!r} in the output. `at` is a JSON Pointer to one.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) * len(rows) > CSV_CELLS:
        raise NoResult(
            f"The list at {place[:100]!r} is no table: {len(rows):,} rows with {len(names):,} different names would "
            f"have more than {CSV_CELLS:,} cells. Load output.json."
        )
    return csv_files.BOM + csv_files.lines([names, *([row.get(name) for name in names] for row in rows)])


def found_at(document: Any, place: str) -> Any:
    """Return what a JSON Pointer leads to, None if that is nothing."""
    if place and not place.startswith("/"):
        return None
    for part in place.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and (number := natural(name)) is not None:
            document = document[number] if number < len(document) else None
        else:
            return None
    return document


output_json = file_of("application/json", "output.json", as_json)
output_csv = file_of(csv_files.MEDIA_TYPE, "output.csv", as_csv)
summary_md = file_of("text/markdown; charset=utf-8", "summary.md", as_markdown)
