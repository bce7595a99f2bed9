"""The documentation, as pages of the server that it describes: `docs/` of this release, open to everybody."""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from pathlib import Path

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

DOCS: Path = settings.BASE_DIR / "docs"
IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}
EXTENSIONS = ["table", "strikethrough", "autolink", "tasklist"]
HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)
OUTSIDE = re.compile(r'<a href="(?:\.\./)+(?!how-to/|reference/|tutorial/|explanation/)(?!\w+\.md)[^"]*">(.*?)</a>')


@require_safe
def guide(request: HttpRequest, name: str = "index.md") -> HttpResponseBase:
    """Show one page of the documentation, or an image in it."""
    try:
        file = (DOCS / name).resolve()
        shown = file.is_relative_to(DOCS.resolve()) and file.is_file()
    except (OSError, ValueError):  # no file can be called that
        shown = False
    if not shown:
        raise Http404
    if (kind := IMAGES.get(file.suffix)) is not None:
        return FileResponse(file.open("rb"), content_type=kind)
    if file.suffix != ".md":
        raise Http404
    title, text = page_of(file)
    return guide_response(request, title, text)


def guide_response(request: HttpRequest, title: str, text: SafeString) -> HttpResponse:
    return render(request, "guide.html", {"title": title, "text": text})


@cache
def page_of(file: Path) -> tuple[str, SafeString]:
    """Return a page's title and its HTML; the text is ours, and HTML in it is left out by the parser."""
    from cmarkgfm.cmark import Options, markdown_to_html_with_extensions  # few processes ever show any

    made = markdown_to_html_with_extensions(file.read_text(), options=Options.CMARK_OPT_DEFAULT, extensions=EXTENSIONS)
    seen: dict[str, int] = {}

    def anchored(found: re.Match[str]) -> str:
        name = slug_of(found[2])
        seen[name] = times = seen.get(name, -1) + 1
        return f'<h{found[1]} id="{name}{f"-{times}" if times else ""}">{found[2]}</h{found[1]}>'

    made = HEADING.sub(anchored, made)
    # What lies beside docs/ is no page of the server.
    made = OUTSIDE.sub(r"\1", made)
    # Both scroll by themselves, so that the page does not; who has no mouse gets there by keyboard.
    made = made.replace("<th></th>", "<td></td>")  # a column without a title
    made = made.replace("<pre>", '<pre tabindex="0">')
    made = made.replace("<table>", '<div class="scrolls" tabindex="0"><table>').replace("</table>", "</table></div>")
    title = HEADING.search(made)
    return unescape(re.sub(r"<[^>]+>", "", title[2])) if title else file.stem, SafeString(made)


def slug_of(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    text = unescape(re.sub(r"<[^>]+>", "", heading)).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
