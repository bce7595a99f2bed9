"""What the service answers, recorded so that two runs of one story on two databases can be compared line by line.

Ids, secrets, tokens and ports differ from run to run and are numbered in the order in which they appear. Times are
kept: the story holds the clock. A body keeps the order of its names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.urls import resolve

from core.api.headers import PAGE_HEADERS
from tests.casts.client import CLIENT, asked, run

USUAL = PAGE_HEADERS["Cache-Control"]
# Of these headers an answer's meaning depends; the others are the same for all.
HEADERS = (
    *("Content-Type", "Location", "Allow", "Retry-After", "ETag", "Cache-Control", "Preference-Applied"),
    *("Idempotent-Replayed", "Content-Disposition", "Repr-Digest", "WWW-Authenticate"),
)
NUMBERED = {
    "id": re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),
    "endpoint": re.compile(r"\bep_[0-9a-f]{32}\b"),
    "message": re.compile(r"\bmsg_[0-9a-f]{32}\b"),
    "key": re.compile(r"\bsk_live_spl_[0-9A-Za-z]{36}\b"),
    "prefix": re.compile(r"\bsk_live_spl_[0-9A-Za-z]{8}\b"),
    "secret": re.compile(r"\bwhsec_[0-9A-Za-z+/]{43}="),
}
REPLACED = [
    (re.compile(r"token=[\w.-]+"), "token=<token>"),
    (re.compile(r"cursor=[\w%.-]+"), "cursor=<cursor>"),
    (re.compile(r"127\.0\.0\.1:[0-9]+"), "127.0.0.1:<port>"),
    (re.compile(r'"request_id": ?"[0-9a-f]+"'), '"request_id": "<request>"'),
    (re.compile(r'^"[0-9a-f]{32}"$'), '"<etag>"'),
]


@dataclass(frozen=True)
class Answer:
    """One answer: what was asked, by its path's template, and what came.

    `body` is JSON where it is, else text, made comparable; `raw` is the same JSON as it came.
    """

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: Any
    what: str = ""  # what this shows, in the story's words
    raw: Any = None

    def lines(self) -> Iterator[str]:
        """Yield it as text, a line for each member of the body."""
        yield f"== {self.what}" if self.what else "=="
        yield f"{self.method} {self.path} {self.status}"
        yield from (f"{name}: {value}" for name, value in self.headers.items())
        if isinstance(self.body, dict):
            for name, value in self.body.items():
                items = value if name in ("results", "errors", "steps", "attempts") and isinstance(value, list) else []
                yield f"  {name}: {'' if items else written(value)}"
                yield from (f"    {written(item)}" for item in items)
        elif self.body is not None:
            yield from (f"  {line}" for line in str(self.body).splitlines())


def written(value: Any) -> str:
    """Return JSON on one line, in its order."""
    return json.dumps(value, ensure_ascii=False)


@dataclass
class Recorder:
    """Asks, and keeps what was answered."""

    answers: list[Answer] = field(default_factory=list)
    seen: dict[str, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in NUMBERED})
    numbers: dict[str, str] = field(default_factory=dict)  # keys' numbers, which the database gives

    def ask(self, method: str, path: str, body: Any = None, *, what: str = "", **headers: str) -> Any:
        """Send a request to /api/v1 and elsewhere; return Django's response."""
        data = body if isinstance(body, bytes | str) else b"" if body is None else json.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = sent.pop("Content-Type", "application/json")
        answer = CLIENT.generic(method, path, data, content_type=kind, headers=sent)
        content = b"" if answer.streaming else answer.content
        self.keep(method, path, answer.status_code, answer.headers, content, what)
        return answer

    def ask_server(self, path: str, *, method: str = "GET", what: str = "", **headers: Any) -> bytes:
        """Send a request as the server does, for what is streamed; return the whole body."""

        async def scene() -> bytes:
            async with asked(path, method=method, **headers) as answer:
                content = await answer.body()
                self.keep(method, path, answer.status, answer.headers, content, what)
                return content

        content: bytes = run(scene())
        return content

    def keep(
        self, method: str, path: str, status: int, headers: Any, content: bytes, what: str, template: str = ""
    ) -> None:
        """Keep an answer, made comparable."""
        named = {name.lower(): value for name, value in headers.items()}
        kind = named.get("content-type", "")
        kept = {name: self.plain(named[name.lower()]) for name in HEADERS if named.get(name.lower(), USUAL) != USUAL}
        if status != 405:
            kept.pop("Allow", None)  # every view names its methods in every answer
        body = self.body(kind, content)
        raw = json.loads(content) if content and "json" in kind else None
        self.answers.append(Answer(method, template or template_of(path), status, kept, body, what, raw))

    def body(self, kind: str, content: bytes) -> Any:
        """Return a body as it is compared."""
        if not content:
            return None
        if kind.startswith("text/html"):
            return self.plain(text_of(content.decode()))
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return f"{len(content)} bytes"
        text = self.plain(text)
        return self.numbered(json.loads(text)) if "json" in kind else text

    def plain(self, text: str) -> str:
        """Number what differs from run to run."""
        for kind, form in NUMBERED.items():
            known = self.seen[kind]
            text = form.sub(lambda m, k=kind, s=known: s.setdefault(m[0], f"<{k} {len(s) + 1}>"), text)  # type: ignore[misc]
        for form, instead in REPLACED:
            text = form.sub(instead, text)
        return text

    def numbered(self, value: Any, name: str = "") -> Any:
        """Number a key's id, and leave out how long a call took, wherever they are in a body."""
        if isinstance(value, dict):
            tried = "response_excerpt" in value
            return {k: "<ms>" if tried and k == "duration_ms" else self.numbered(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.numbered(item, name) for item in value]
        if name in ("id", "key_id", "ref", "actor_id") and str(value).isdigit():
            return self.numbers.setdefault(str(value), f"<key id {len(self.numbers) + 1}>")
        return value

    def text(self) -> str:
        """Return the whole recording."""
        return "\n".join(line for answer in self.answers for line in answer.lines()) + "\n"


def template_of(path: str) -> str:
    """Return a path as the API's description writes it."""
    plain, _, query = path.partition("?")
    route = resolve(plain).route
    template = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
    names = re.findall(r"([\w.]+)=", query)
    return template + (f" ({', '.join(names)})" if names else "")


class Text(HTMLParser):
    """Collects what a page says."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.hidden and data.strip():
            self.parts.append(" ".join(data.split()))


def text_of(page: str) -> str:
    """Return what a page says, a line for each piece."""
    parser = Text()
    parser.feed(page)
    return "\n".join(parser.parts)
