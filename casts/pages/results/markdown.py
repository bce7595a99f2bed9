"""Markdown that a stranger wrote, as HTML that may stand in our page.

Three steps, of which the last is the only one that safety rests on. cmarkgfm makes HTML; it takes any text
in linear time. `tidied` makes of that what we show: bounded nesting, tags closed where they belong, headings below the
page's, pictures as links. Then nh3 keeps what its list allows, and nothing else. Without the second step a sanitiser
that parses as browsers do would build trees that are deep or multiply, and end the process.
"""

from __future__ import annotations

import re
from collections import Counter
from html import unescape

from django.utils.html import escape
from django.utils.safestring import SafeString

from core.limits import MARKDOWN_BYTES, MARKDOWN_HTML_BYTES

EXTENSIONS = ["table", "strikethrough", "autolink", "tasklist"]
PARSED_CHARS = 512 * 1024  # of HTML that the parser makes; a table of few characters may have half a million cells
DEPTH = 30  # tags within tags; those further inside are left out, and their text stays

# Each tag that is shown, with its attributes. None of them loads, runs, styles or names anything.
PLAIN = (
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "pre", "div", "ul", "li", "dl", "dt", "dd", "summary"),
    *("table", "thead", "tbody", "tfoot", "tr", "caption", "code", "kbd", "samp", "var", "q", "cite"),
    *("strong", "b", "em", "i", "del", "ins", "s", "u", "mark", "small", "sub", "sup"),
)
CELL = frozenset(("align", "colspan", "rowspan"))
TAGS: dict[str, frozenset[str]] = {
    **dict.fromkeys(PLAIN, frozenset()),
    **{"th": CELL, "td": CELL, "ol": frozenset(("start",)), "details": frozenset(("open",))},
    "a": frozenset(("href", "title")),
}
VALUES = re.compile(r"left|right|center|[1-9][0-9]{0,2}|open|")  # of all attributes but a link's
SCHEMES = {"http", "https", "mailto"}
REL = "noopener noreferrer nofollow"
VOID = frozenset(("br", "hr"))
HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}  # the page has h1 and h2
UNSEEN = ("script", "style", "template", "noscript", "iframe", "object", "title", "textarea", "svg", "math")
UNSEEN_END = re.compile(f"</({'|'.join(UNSEEN)})")
ADDRESS = re.compile(r"\s*(https?://|mailto:)", re.IGNORECASE)

# So that no text is read twice, single characters are taken possessively and what follows can't begin with them. Groups
# are not: before 3.11.5, Python goes astray in a possessive group of alternatives (python/cpython#106052).
TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]*+)"
    r"(?P<rest>(?:\s++[^\s\"'<>/=]++(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'=<>`]++))?)*)\s*+/?>"
    r"|<",
    re.DOTALL,
)
ATTRIBUTE = re.compile(r"([^\s\"'<>/=]++)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'=<>`]++)))?")


def rendered(text: str) -> SafeString | None:
    """Return Markdown as HTML, None where it would be too much of it: it is shown as text then."""
    if len(text.encode(errors="replace")) > MARKDOWN_BYTES:
        return None
    # Here, as few processes ever show Markdown.
    import nh3
    from cmarkgfm.cmark import Options, markdown_to_html_with_extensions

    whole = text.encode(errors="replace").decode().replace("\0", "\ufffd")
    made = markdown_to_html_with_extensions(whole, options=Options.CMARK_OPT_UNSAFE, extensions=EXTENSIONS)
    if len(made) > PARSED_CHARS or len(shown := tidied(made)) > MARKDOWN_HTML_BYTES:
        return None
    clean = nh3.clean(
        shown,
        tags=set(TAGS),
        attributes={name: set(names) for name, names in TAGS.items() if names},
        url_schemes=SCHEMES,
        link_rel=REL,
        url_relative="deny",
    )
    return SafeString(clean) if len(clean.encode()) <= MARKDOWN_HTML_BYTES else None


def tidied(html: str) -> str:
    """Return HTML in the tags that are shown, each closed, none deeper than DEPTH."""
    return Tidy(html).text()


class Tidy:
    """One pass over tags."""

    def __init__(self, html: str) -> None:
        self.html = html
        self.last_ends = {found[1]: found.start() for found in UNSEEN_END.finditer(html.lower())}
        self.out: list[str] = []
        self.open: list[str] = []
        self.left_out: Counter[str] = Counter()  # tags whose ends are still to come, and left out as well
        self.level = 2  # of the last heading
        self.unseen = ""  # the tag whose contents are being left out

    def text(self) -> str:
        place = 0
        for token in TOKEN.finditer(self.html):
            self.say(self.html[place : token.start()])
            self.read(token)
            place = token.end()
        self.say(self.html[place:])
        self.out += [f"</{name}>" for name in reversed(self.open)]
        return "".join(self.out)

    def say(self, text: str) -> None:
        if text and not self.unseen:
            self.out.append(text.replace(">", "&gt;"))

    def read(self, token: re.Match[str]) -> None:
        name = (token["name"] or "").lower()
        if self.unseen:
            if token["end"] and name == self.unseen:
                self.unseen = ""
        elif not name:
            self.say("&lt;" if token[0] == "<" else "")
        elif token["end"]:
            self.close(self.heading() if name in HEADINGS else name)
        elif name in UNSEEN:
            # One that never ends would take the rest with it.
            self.unseen = name if self.last_ends.get(name, 0) > token.start() else ""
        else:
            self.begin(name, token["rest"])

    def begin(self, name: str, rest: str) -> None:
        given = {found[1].lower(): found[2] or found[3] or found[4] or "" for found in ATTRIBUTE.finditer(rest)}
        if name == "img":
            self.picture(given)
        elif name == "input":
            self.box(given)
        elif name in HEADINGS:
            # No level is left out on the way down: screen readers go by them.
            self.level = min(int(HEADINGS[name][1]), self.level + 1)
            self.opening(f"h{self.level}", given)
        elif name in TAGS:
            self.opening(name, given)

    def heading(self) -> str:
        """Return the heading that is open."""
        return next((name for name in reversed(self.open) if name in HEADINGS), "")

    def opening(self, name: str, given: dict[str, str]) -> None:
        if name in VOID:
            self.out.append(f"<{name}>")
            return
        kept = {one: value for one, value in given.items() if one in TAGS[name] and fits(one, value)}
        if len(self.open) >= DEPTH or (name == "a" and ("a" in self.open or "href" not in kept)):
            self.left_out[name] += 1
            return
        self.out.append(f"<{name}{''.join(f' {one}={chr(34)}{value}{chr(34)}' for one, value in kept.items())}>")
        self.open.append(name)

    def close(self, name: str) -> None:
        if self.left_out[name]:
            self.left_out[name] -= 1
        elif name in self.open:
            inner = ""
            while inner != name:
                inner = self.open.pop()
                self.out.append(f"</{inner}>")

    def picture(self, given: dict[str, str]) -> None:
        # Pages load nothing from elsewhere: who wants to see it follows the link.
        said, where = unescape(given.get("alt", "")).strip(), unescape(given.get("src", ""))
        if ADDRESS.match(where) and "a" not in self.open:
            self.out.append(f'<a href="{escape(where)}">{escape(said or "picture")}</a>')
        else:
            self.out.append(str(escape(said)))

    def box(self, given: dict[str, str]) -> None:
        if given.get("type") == "checkbox":
            self.out.append("☑" if "checked" in given else "☐")


def fits(name: str, value: str) -> bool:
    """Return whether an attribute may have this value, as it stands between quotes."""
    if '"' in value:
        return False
    if name == "href":
        return ADDRESS.match(unescape(value)) is not None
    return name == "title" or VALUES.fullmatch(value) is not None
