"""What strangers write as Markdown, and what of it gets into our page."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casts.pages.results.markdown import DEPTH, REL, TAGS, rendered
from core.limits import MARKDOWN_HTML_BYTES

SAFE = ("http://", "https://", "mailto:")


class Judge(HTMLParser):
    """Reads HTML as a parser that we did not write, and holds it against the list."""

    def __init__(self) -> None:
        super().__init__()
        self.deepest = self.depth = 0

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        given = dict(attrs)
        assert len(given) == len(attrs)
        allowed = TAGS[tag] | ({"rel"} if tag == "a" else set())
        assert set(given) <= allowed, (tag, attrs)
        assert not any(name.startswith("on") or name in ("style", "id", "class", "src") for name in given)
        if tag == "a":
            assert given["rel"] == REL
            # An address that the sanitiser can't read is left out.
            assert given.get("href", "https://").strip().lower().startswith(SAFE), given
        if tag not in ("br", "hr"):
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)

    def handle_endtag(self, tag):
        assert tag in TAGS
        self.depth -= 1

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def judged(text: str) -> str:
    shown = rendered(text)
    if shown is None:
        return ""
    judge = Judge()
    judge.feed(shown)
    judge.close()
    assert judge.depth == 0
    assert judge.deepest <= 2 * DEPTH  # the parser adds tbody and the like
    return shown


PIECES = [
    *("<script>", "</script>", "<script src=//x>", "<style>", "</style>", "<svg onload=alert(1)>"),
    *("<math>", "</svg>"),
    *("<img src=x onerror=alert(1)>", '<a href="javascript:alert(1)">', "<a href='JaVaScRiPt&#58;alert(1)'>", "</a>"),
    *(
        "[a](javascript:alert(1))",
        "[a](java\nscript:x)",
        "[a](data:text/html,x)",
        "![a](javascript:x)",
        "[a]: vbscript:x",
    ),
    *(
        '<a href="https://x" onclick=x>',
        "<b style=x:y id=a class=b>",
        "<p><div>",
        "<table>",
        "<td colspan=99999>",
        "<tr>",
    ),
    *("<noscript>", "<template>", "<textarea>", "<title>", "<iframe srcdoc='<script>'>", "<input type=checkbox>"),
    *(
        "<form action=x>",
        "<button>",
        "<base href=//x>",
        "<meta http-equiv=refresh>",
        "<link rel=stylesheet>",
        "<!--",
        "-->",
    ),
    *(
        "<![CDATA[",
        "]]>",
        "<?php",
        "?>",
        "<!doctype html>",
        '"',
        "'",
        "<",
        ">",
        "&lt;",
        "&#x3c;script&#x3e;",
        "\0",
        "\ud800",
    ),
    *(
        "> ",
        "- ",
        "1. ",
        "# ",
        "\n",
        "\n\n",
        "    ",
        "```",
        "`",
        "|a|b|\n|-|-|\n|",
        "- [x] ",
        "~~",
        "**",
        "https://x.y",
        "w@x.y",
    ),
    *(
        "<details open>",
        "<summary>",
        "<h1>",
        "</h1>",
        "<ol start=5>",
        "<a href='//x'>",
        "<a href=/x>",
        "<xmp>",
        "<plaintext>",
    ),
    *(
        "<a href='https://x\"onmouseover=alert(1)'>",
        '<a title="><script>" href="https://x">',
        "<mglyph>",
        "<mtext>",
        "text",
    ),
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=40).map("".join))
def test_whatever_is_written_only_what_the_list_allows_comes_out(text: str):
    judged(text)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("# One\n## Two\n###### Six", "<h3>One</h3>\n<h4>Two</h4>\n<h5>Six</h5>"),
        ("~~old~~", "<p><del>old</del></p>"),
        ("- [x] done\n- [ ] open", "<ul>\n<li>☑ done</li>\n<li>☐ open</li>\n</ul>"),
        ("```js\na<b\n```", "<pre><code>a&lt;b\n</code></pre>"),
        ("see https://x.example", f'<p>see <a href="https://x.example" rel="{REL}">https://x.example</a></p>'),
        ("![a cat](https://x.example/c.png)", f'<p><a href="https://x.example/c.png" rel="{REL}">a cat</a></p>'),
        ("![a cat](c.png)", "<p>a cat</p>"),
        ("[![ok](https://x/b.svg)](https://y)", f'<p><a href="https://y" rel="{REL}">ok</a></p>'),
        ("[here](#there) [x](javascript:alert(1))", "<p>here x</p>"),
        # As GitHub's toolkit writes a summary.
        ("<h1>Report</h1>\n<table><tr><td onclick=x>1</td></tr></table>",
         "<h3>Report</h3>\n<table><tbody><tr><td>1</td></tr></tbody></table>"),
        ("<details><summary>More</summary>\n\n*in*\n\n</details>",
         "<details><summary>More</summary>\n<p><em>in</em></p>\n</details>"),
        ("a <style>p{}</style>b<script>alert(1)</script>c", "<p>a bc</p>"),
        ("1 < 2 & 3 > 2", "<p>1 &lt; 2 &amp; 3 &gt; 2</p>"),
    ],
)  # fmt: skip
def test_github_s_flavour(written: str, shown: str):
    assert judged(written).strip() == shown


def test_a_table_has_its_cells_and_how_they_stand():
    shown = judged("| a | b |\n|:-:|--:|\n| 1 | **2** |")
    assert '<th align="center">a</th>' in shown
    assert '<td align="right"><strong>2</strong></td>' in shown


HOSTILE = {
    "quotes in quotes": "> " * 32_000,
    "lists in lists": "".join(" " * i + "- a\n" for i in range(350)),
    "brackets": "[" * 65_000,
    "links in links": "[a](<b" * 10_000,
    "a huge table": "|".join("a" * 9_000) + "\n" + "|".join("-" * 9_000) + "\n" + "|\n" * 10_000,
    "bold that never ends": "**a" * 20_000,
    "tags that never end": "<div>" * 12_000,
    "tags that multiply": "<div>\n" + "<b>x<p>y<i>z<div><table>" * 2_500,
    "tables in tables": "<div>\n" + "<table><tr><td><b>" * 3_500,
    "scripts that never end": "<div>\n" + "<script>" * 8_000,
    "comments": "<div>\n" + "<!--" * 16_000,
    "quotes that never end": "<div>\n" + "<a x=\"'" * 9_000,
    "blanks in a tag": "<div>\n<a" + " " * 60_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_ends_bounded(name: str):
    assert len(judged(HOSTILE[name])) <= MARKDOWN_HTML_BYTES


def test_a_megabyte_is_not_even_parsed():
    assert rendered("# title\n\nsome *text* | and more\n" * 32_000) is None
