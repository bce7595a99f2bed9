"""Stripe's search, which finds what is new only some time later. Source: https://docs.stripe.com/search

Clauses are joined by AND (or a space) or by OR, not both; `-` negates; text is matched whole with `:`, in part with
`~`, and numbers with `:` `>` `<` `>=` `<=`.
"""

import re
from collections.abc import Callable
from typing import Any

from localstripe.errors import invalid
from localstripe.params import Int, Kind, Text
from localstripe.routing import Call
from localstripe.store import Obj

SEARCHED: dict[str, Kind] = {
    "query": Text(required=True),
    "limit": Int(least=1, most=100),
    "page": Text(),
}
_CLAUSE = re.compile(
    r"""(?P<not>-?)
    (?P<field>[a-z_]+)(\[(?P<quote>["'])(?P<key>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\])?
    \s*(?P<operator>:|~|>=|<=|>|<)\s*
    (?:(?P<mark>["'])(?P<text>(?:\\.|(?!(?P=mark)).)*)(?P=mark)|(?P<bare>null|-?\d+))""",
    re.VERBOSE,
)
_JOIN = re.compile(r"\s+(AND\b|OR\b)?\s*", re.IGNORECASE)
_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    ":": lambda have, want: have == want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
}
Test = Callable[[Obj], bool]


def search(call: Call, kind: str, fields: set[str]) -> Obj:
    """Return a page of what matches `query` as it was known a little while ago, newest first."""
    matches = _test(call["query"], fields)
    now = call.world.clock.time()
    found = []
    for obj in call.world.store.all(kind):
        known = [version for at, version in call.world.store.versions.get(obj["id"], []) if at <= now]
        # What is found is shown as it is now; whether it is found depends on what was known.
        if known and not obj.get("deleted") and matches(known[-1]):
            found.append(obj)
    page = call.get("page", "0")
    if not page.isdigit():
        raise invalid("Invalid page token", "page")
    start, limit = int(page), call.get("limit", 10)
    more = len(found) > start + limit
    return {
        "object": "search_result",
        "data": found[start : start + limit],
        "has_more": more,
        "next_page": str(start + limit) if more else None,
        "url": call.path,
    }


def _test(query: str, fields: set[str]) -> Test:
    """Return what tells whether an object matches. Raise Stripe's error for a query it can't read."""
    tests: list[Test] = []
    joins: set[str] = set()
    place = 0
    while True:
        clause = _CLAUSE.match(query, place)
        if clause is None or (clause["field"] not in fields | {"metadata"}):
            raise invalid(
                f"We were unable to parse your search query at character {place}: {query[place : place + 40]!r}. See "
                "https://stripe.com/docs/search for the query syntax.",
                "query",
            )
        tests.append(_clause(clause))
        place = clause.end()
        if not query[place:].strip():
            break
        join = _JOIN.match(query, place)
        joins.add((join[1] or "AND").upper() if join else "?")
        place = join.end() if join else place
        if len(joins) > 1 or "?" in joins:
            raise invalid("A search query can't mix AND and OR.", "query")
    combine = any if joins == {"OR"} else all
    return lambda obj: combine(test(obj) for test in tests)


def _clause(clause: "re.Match[str]") -> Test:
    field, key, operator = clause["field"], clause["key"], clause["operator"]
    text = None if clause["text"] is None else re.sub(r"\\(.)", r"\1", clause["text"])
    negated = bool(clause["not"])

    def test(obj: Obj) -> bool:
        have: Any = obj["metadata"].get(key) if field == "metadata" and key is not None else obj.get(field)
        if text is None and clause["bare"] == "null":
            found = have is None
        elif isinstance(have, int):
            bare = clause["bare"] or text or ""
            found = bool(re.fullmatch(r"-?\d+", bare)) and _NUMBERS.get(operator, _NUMBERS[":"])(have, int(bare))
        elif operator == "~":
            found = have is not None and (text or "").lower() in str(have).lower()
        else:
            found = have is not None and str(have).lower() == (text if text is not None else clause["bare"]).lower()
        return found != negated

    return test
