"""What was asked of a spell: a list of names and values, or JSON where that would be long. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from casts.forms.wording import cut
from casts.pages.presenter import pretty
from casts.pages.results.schema import Schema, items_of, property_of, resolved, text_of

MOST_ITEMS = 40
VALUE_CHARS, CHARS = 2_000, 12_000  # of one value, and of all; an input may have a hundred times as many
NAME_CHARS = 300
DEEPEST = 5  # what is within more than that is JSON
BELOW = ": "  # between the names that lead to a value within others
LONG = 200  # characters of a value that gets lines of its own


def asked_of(value: Any, schema: Any) -> dict[str, Any]:
    """Return what the page shows of an input; `schema`: the spell's, from which a name's title is taken."""
    found = list(islice(leaves(value, resolved(schema, schema), schema), MOST_ITEMS + 1)) if value else []
    if not isinstance(value, dict) or not 0 < len(found) <= MOST_ITEMS:
        text = pretty(value)
        return {"items": [], "json": text[:CHARS], "cut": len(text) > CHARS}
    items, left = [], CHARS
    for names, one in found:
        whole = said(one)
        text = whole[: min(VALUE_CHARS, left)]
        left -= len(text)
        items.append(
            {
                "name": cut(BELOW.join(names), NAME_CHARS),
                "text": text,
                "cut": len(text) < len(whole),
                "long": len(whole) > LONG or "\n" in whole,
                "none": one is None or one == "",
            }
        )
    return {"items": items, "json": None, "cut": any(item["cut"] for item in items)}


def leaves(value: Any, about: Schema, root: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value that has no others in it, with the names that lead there."""
    if not isinstance(value, dict | list) or not value or len(names) > DEEPEST:
        yield names, value
    elif isinstance(value, dict):
        for name, one in value.items():
            inner = property_of(about, name, root)
            yield from leaves(one, inner, root, (*names, title_of(name, inner)))
    else:
        inner = items_of(about, root)
        for number, one in enumerate(value, start=1):
            yield from leaves(one, inner, root, (*names[:-1], f"{names[-1] if names else ''} {number}".strip()))


def said(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else pretty(value)


def title_of(name: str, about: Schema) -> str:
    title = text_of(about, "title")
    return title if title.strip() else name
