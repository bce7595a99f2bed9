"""Whether a spell takes an input: its schema, and how much a workflow can be handed."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings

from casts.models import Spell
from core import json_schema
from core.errors import InputTooLarge, InvalidInput

# A workflow takes 65,535 characters for all inputs of a run, as compact JSON; the others and the names take up to 150.
PACKED_MAX_CHARS = 65_300


def checked_input(spell: Spell, given: Any) -> Any:
    """Return the input with the schema's defaults; raise InvalidInput with every violation, or InputTooLarge."""
    filled = json_schema.with_defaults(spell.input_schema, given)
    check_size(json.dumps(filled, ensure_ascii=False, separators=(",", ":")))
    if problems := json_schema.violations(spell.input_schema, filled, at="/input"):
        raise InvalidInput(
            f"The input does not fit the spell's input_schema in {len(problems)} place(s).", errors=problems
        )
    return filled


def check_size(text: str) -> None:
    """Raise InputTooLarge if a workflow can't be given this JSON: by characters, packed characters, or bytes."""
    most: dict[str, Any]
    chars, packed, size = len(text), len(json.dumps(text, ensure_ascii=False)), len(text.encode())
    if chars > settings.CAST_INPUT_MAX_CHARS:
        most = {"max_chars": settings.CAST_INPUT_MAX_CHARS}
        measured = f"{chars} characters of JSON; at most {settings.CAST_INPUT_MAX_CHARS}"
    elif packed > PACKED_MAX_CHARS:
        most = {"max_chars": PACKED_MAX_CHARS}
        measured = (
            f"{packed} characters once its JSON is packed as text, in which a quotation mark takes two; "
            f"at most {PACKED_MAX_CHARS}"
        )
    elif size > settings.CAST_INPUT_MAX_BYTES:
        most = {"max_bytes": settings.CAST_INPUT_MAX_BYTES}
        measured = f"{size} bytes of JSON; at most {settings.CAST_INPUT_MAX_BYTES}"
    else:
        return
    raise InputTooLarge(
        f"The input is {measured} can be handed to a workflow. Pass a link to bulky data instead.", **most
    )
