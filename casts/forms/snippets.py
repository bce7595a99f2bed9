"""The same cast as a program would ask for it: ready to be pasted, with BASE and KEY in the environment."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any, NamedTuple

from casts.forms.fields import JSON
from core.db.documents import written

PATH = "/api/v1/cast"
ARGUMENT_BYTES = 100_000  # of one argument of a program; Linux takes 131,072
SAFE = 2**53  # from where on JavaScript's numbers are no longer exact


class Snippet(NamedTuple):
    key: str
    label: str
    text: str


def snippets(spell_key: str, value: JSON, seed: uuid.UUID) -> list[Snippet]:
    """Return the same request in several languages. `seed`: of the Idempotency-Key, which is another for each input."""
    body = {"spell_key": spell_key, "input": value}
    key = str(uuid.uuid5(seed, written(body)))
    return [
        Snippet("curl", "curl", curl(body, key)),
        Snippet("python", "Python", python(body, key)),
        Snippet("javascript", "JavaScript", javascript(body, key)),
    ]


def curl(body: JSON, key: str) -> str:
    head = (
        f'curl --fail-with-body -sS "$BASE{PATH}" \\\n'
        '  -H "Authorization: Bearer $KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f'  -H "Idempotency-Key: {key}" \\\n'
    )
    # A backslash as an escape: fish would take one of two away. Within these quotes nothing else means anything, not
    # even ! where people type.
    text = printable(literal(body, JSON_WORDS)).replace("\\\\", "\\u005c")
    quoted = "'" + text.replace("'", "'\\''") + "'"
    if len(quoted.encode()) < ARGUMENT_BYTES:
        return f"{head}  --data-raw {quoted}\n"
    # Longer than an argument may be. Here a ! would mean something to a shell in which people type.
    return f"{head}  --data-binary @- <<'END'\n{text.replace('!', chr(92) + 'u0021')}\nEND\n"


def python(body: JSON, key: str) -> str:
    return (
        "import json, os, urllib.request\n\n"
        f"body = {literal(body, PYTHON_WORDS)}\n"
        "request = urllib.request.Request(\n"
        f'    os.environ["BASE"] + "{PATH}",\n'
        "    data=json.dumps(body).encode(),\n"
        "    headers={\n"
        '        "Authorization": "Bearer " + os.environ["KEY"],\n'
        '        "Content-Type": "application/json",\n'
        f'        "Idempotency-Key": "{key}",\n'
        "    },\n"
        ")\n"
        "with urllib.request.urlopen(request) as answer:\n"
        "    print(answer.read().decode())\n"
    )


def javascript(body: JSON, key: str) -> str:
    exact = not inexact(body)
    text = printable(literal(body, JSON_WORDS)) if exact else string(written(body))
    return (
        f"const body = {f'JSON.stringify({text})' if exact else text};\n"
        f'const answer = await fetch(process.env.BASE + "{PATH}", {{\n'
        '  method: "POST",\n'
        "  headers: {\n"
        '    "Authorization": `Bearer ${process.env.KEY}`,\n'
        '    "Content-Type": "application/json",\n'
        f'    "Idempotency-Key": "{key}",\n'
        "  },\n"
        "  body,\n"
        "});\n"
        "console.log(await answer.text());\n"
        "if (!answer.ok) process.exitCode = 1;\n"
    )


def inexact(value: JSON) -> bool:
    """Whether JavaScript, where this is written as an object, would make something else of it."""
    if isinstance(value, dict):
        return "__proto__" in value or any(map(inexact, value.values()))
    if isinstance(value, list):
        return any(map(inexact, value))
    return not isinstance(value, bool) and isinstance(value, int | float) and (abs(value) >= SAFE or value == 0)


class Words(NamedTuple):
    """How a language writes what is the same in none."""

    null: str
    true: str
    false: str
    indent: str
    string: Any


def string(text: str) -> str:
    return printable(json.dumps(text, ensure_ascii=False))


def python_string(text: str) -> str:
    # JSON's strings are Python's, but for half surrogates, which are never stored, and characters of two halves.
    found = json.dumps(text, ensure_ascii=False)
    return UNSEEN.sub(lambda one: f"\\U{ord(one[0]):08x}", found)


def printable(text: str) -> str:
    """Return JSON, or JavaScript, whose strings hold no characters that nobody sees, or that turn others around."""
    return UNSEEN.sub(lambda one: json.dumps(one[0])[1:-1], text)


UNSEEN = re.compile(
    "[\x7f-\xa0\xad\u0600-\u0605\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
JSON_WORDS = Words("null", "true", "false", "  ", string)
PYTHON_WORDS = Words("None", "True", "False", "    ", python_string)


def literal(value: JSON, words: Words, indent: str = "") -> str:
    """Return a value as a language writes it, indented."""
    if value is None:
        return words.null
    if isinstance(value, bool):
        return words.true if value else words.false
    if isinstance(value, str):
        text: str = words.string(value)
        return text
    if isinstance(value, int | float):
        return written(value)
    inner = indent + words.indent
    if isinstance(value, dict):
        lines = [f"{words.string(name)}: {literal(one, words, inner)}" for name, one in value.items()]
        opened, closed = "{", "}"
    else:
        lines, (opened, closed) = [literal(one, words, inner) for one in value], "[]"
    if not lines:
        return opened + closed
    between = f",\n{inner}"
    return f"{opened}\n{inner}{between.join(lines)}\n{indent}{closed}"
