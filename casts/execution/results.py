"""`result.json` of the artifact `spell-result` becomes the cast's output. Nothing else is ever unpacked here."""

from __future__ import annotations

import codecs
import json
from typing import Any

from casts.execution import unzip
from casts.models import Artifact
from core import json_schema
from core.limits import RESULT_BYTES
from core.strict_json import storable

ARTIFACT, MEMBER = "spell-result", "result.json"

Problems = list[dict[str, str]]


class Unreadable(ValueError):
    """There is a result, and it can't be read; str() says why."""


def read(artifact: Artifact | None, schema: dict[str, Any] | None) -> tuple[Any, Problems]:
    """Return the output and every way in which it breaks `schema` (None: anything goes, also nothing at all).

    Raise Unreadable.
    """
    output = None if artifact is None else load(artifact)
    if schema is None:
        return output, []
    if output is None:
        return None, [{"pointer": "/output", "detail": f"The run left no {MEMBER} in an artifact named {ARTIFACT}."}]
    return output, json_schema.violations(schema, output, at="/output")


def load(artifact: Artifact) -> Any:
    """Return the parsed result, or None if the artifact holds none; raise Unreadable."""
    text = None
    with artifact.file.open("rb") as stored:
        if unzip.is_zip(stored):
            try:
                text = unzip.member(stored, MEMBER, most=RESULT_BYTES + 1)  # one more shows that it is too long
            except unzip.BadZip as exc:
                raise Unreadable(f"{MEMBER} can't be unpacked: {exc}.") from exc
        elif artifact.file_name == MEMBER or artifact.name == MEMBER:
            stored.seek(0)
            text = stored.read(RESULT_BYTES + 1)
    if text is None:
        return None
    if len(text) > RESULT_BYTES:
        raise Unreadable(f"{MEMBER} is larger than {RESULT_BYTES} bytes. Keep bulk in other files of the artifact.")
    try:
        output = json.loads(decoded(text))
        storable(output)
    except RecursionError as exc:
        raise Unreadable(f"{MEMBER} is nested too deeply.") from exc
    except UnicodeDecodeError as exc:
        raise Unreadable(f"{MEMBER} is not UTF-8: {exc.reason} at byte {exc.start}.") from exc
    except ValueError as exc:
        raise Unreadable(f"{MEMBER} is not JSON: {exc}.") from exc
    return output


def decoded(text: bytes) -> str:
    # PowerShell 5 writes UTF-16 with a byte order mark; other tools on Windows write UTF-8 with one.
    utf16 = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return text.decode("utf-16" if utf16 else "utf-8-sig")
