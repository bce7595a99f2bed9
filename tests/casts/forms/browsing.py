"""What a browser makes of a page's form: its controls as they would be sent."""

from __future__ import annotations

from html.parser import HTMLParser


class Controls(HTMLParser):
    """Collects what a form sends if nobody touches it, as HTML says it is read and sent."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sent: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.files = 0
        self._select: str | None = None
        self._options: list[tuple[str, bool]] = []
        self._area: tuple[str, list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        name, value = has.get("name") or "", has.get("value") or ""
        if tag == "input" and has.get("type") == "file":
            self.files += 1
        elif tag == "input" and has.get("type") != "search":
            # One line: browsers take ends of lines away.
            self.sent[name] = value.replace("\r", "").replace("\n", "")
        elif tag == "button":
            self.buttons.append((name, value))
        elif tag == "select":
            self._select, self._options = name, []
        elif tag == "option":
            self._options.append((value, "selected" in has))
        elif tag == "textarea":
            self._area = name, []

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._area[1].append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._select is not None:
            chosen = [value for value, selected in self._options if selected] or [self._options[0][0]]
            self.sent[self._select] = chosen[-1]
            self._select = None
        elif tag == "textarea" and self._area is not None:
            name, parts = self._area
            text = "".join(parts).replace("\r\n", "\n").replace("\r", "\n").removeprefix("\n")
            self.sent[name] = text.replace("\n", "\r\n")
            self._area = None


def controls(page: str) -> Controls:
    found = Controls()
    found.feed(page)
    found.close()
    return found
