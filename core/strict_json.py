"""JSON that every database and client accepts."""

import json
from typing import Any

from core.limits import JSON_DEPTH


def storable(value: Any) -> None:
    """Raise ValueError, with the reason, for JSON that can't be stored: NUL, lone surrogates, NaN, deep nesting."""
    # Layer by layer, without recursion, whose own limit depends on where we are called.
    layer, depth = [value], 0
    while layer := [inner for inner in layer if isinstance(inner, dict | list)]:
        depth += 1
        if depth > JSON_DEPTH:
            raise ValueError(f"it is nested more than {JSON_DEPTH} deep")
        layer = [child for inner in layer for child in (inner.values() if isinstance(inner, dict) else inner)]
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as exc:
        raise ValueError("it holds NaN, Infinity, or a number too large for 64-bit floating point") from exc
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("it holds half of a surrogate pair, which is not a character") from exc
    # An escaped backslash followed by u0000 is text, no NUL.
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("it holds a NUL character (\\u0000), which can't be stored")
