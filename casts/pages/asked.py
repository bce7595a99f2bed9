"""What was asked of a spell: a list of names and values where the input is flat, JSON otherwise. Pure."""

from __future__ import annotations

from typing import Any

from casts.pages.presenter import pretty

MOST_ITEMS = 40
VALUE_CHARS, CHARS = 2_000, 12_000  # of one value, and of all; an input may have a hundred times as many
LONG = 200  # characters of a value that gets lines of its own


def asked_of(value: Any, schema: Any) -> dict[str, Any]:
    """Return what the page shows of an input; `schema`: the spell's, from which a name's title is taken."""
    if not isinstance(value, dict) or not 0 < len(value) <= MOST_ITEMS or any(map(is_nested, value.values())):
        text = pretty(value)
        return {"items": [], "json": text[:CHARS], "cut": len(text) > CHARS}
    properties = schema.get("properties") if isinstance(schema, dict) else None
    items, left = [], CHARS
    for name, one in value.items():
        whole = said(one)
        text = whole[: min(VALUE_CHARS, left)]
        left -= len(text)
        items.append(
            {
                "name": title_of(name, properties)[:VALUE_CHARS],
                "text": text,
                "cut": len(text) < len(whole),
                "long": len(whole) > LONG or "\n" in whole,
                "none": one is None or one == "",
            }
        )
    return {"items": items, "json": None, "cut": any(item["cut"] for item in items)}


def is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def said(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else pretty(value)


def title_of(name: str, properties: Any) -> str:
    about = properties.get(name) if isinstance(properties, dict) else None
    title = about.get("title") if isinstance(about, dict) else None
    return title if isinstance(title, str) and title.strip() else name
