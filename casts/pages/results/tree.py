"""JSON as a tree that folds, without a script: `<details>` in `<details>`, as far as there is room in the page."""

from __future__ import annotations

import json
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from casts.pages.results.budget import Budget

OPEN_LEVELS = 2
OPEN_ENTRIES = 20  # larger ones are folded at first
TEXT_CHARS = 2000
AROUND = 110  # bytes of markup around one line, about


def folded(value: Any, budget: Budget) -> tuple[SafeString, bool]:
    """Return a document as HTML, and whether some of it is left out."""
    growing = Tree(budget)
    growing.add(None, value, 0)
    return SafeString(f'<ul class="tree">{"".join(growing.out)}</ul>'), growing.cut


class Tree:
    def __init__(self, budget: Budget) -> None:
        self.budget, self.cut = budget, False
        self.out: list[str] = []

    def add(self, name: str | int | None, value: Any, level: int) -> None:
        label = "" if name is None else format_html('<span class="tree-name">{}</span> ', name)
        if not isinstance(value, dict | list) or not value:
            text = json.dumps(value, ensure_ascii=False)
            if len(text) > TEXT_CHARS:
                text, self.cut = f"{text[:TEXT_CHARS]}…", True
            self.budget.take(text + str(name), around=AROUND)
            self.out.append(format_html("<li>{}<code>{}</code></li>", label, text))
            return
        self.budget.take(str(name), around=2 * AROUND)
        opened = " open" if level < OPEN_LEVELS and len(value) <= OPEN_ENTRIES else ""
        self.out.append(
            format_html(
                '<li><details{}><summary>{}<span class="tree-count">{}</span></summary><ul>',
                SafeString(opened),
                label,
                size_of(value),
            )
        )
        self.inside(list(value.items()) if isinstance(value, dict) else list(enumerate(value)), level + 1)
        self.out.append("</ul></details></li>")

    def inside(self, entries: list[tuple[Any, Any]], level: int) -> None:
        for number, (name, inner) in enumerate(entries):
            if self.budget.left <= 0:
                self.cut = True
                self.out.append(format_html('<li class="tree-more">… {} more</li>', f"{len(entries) - number:,}"))
                return
            self.add(name, inner, level)


def size_of(value: dict[str, Any] | list[Any]) -> str:
    return f"{{{len(value):,}}}" if isinstance(value, dict) else f"[{len(value):,}]"
