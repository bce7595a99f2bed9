"""Whether a spell takes an input: its schema, and how much a workflow can be handed."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from casts.models import Spell
from casts.runtime import runtime_for
from core import json_schema
from core.db.documents import written
from core.errors import InputTooLarge, InvalidInput


def checked_input(spell: Spell, given: Any) -> Any:
    """Return the input with the schema's defaults; raise InvalidInput with every violation, or InputTooLarge."""
    check_size(written(given))  # before its defaults are filled in, which takes the longer the more there is
    try:
        filled = json_schema.with_defaults(spell.input_schema, given, most_chars=settings.CAST_INPUT_MAX_CHARS)
    except json_schema.TooLarge as exc:
        raise InputTooLarge(
            f"With the defaults of the spell's schema filled in, the input is more than the "
            f"{settings.CAST_INPUT_MAX_CHARS} characters of JSON that can be handed to a workflow. Give fewer items, "
            f"or say yourself what the defaults would fill in.",
            max_chars=settings.CAST_INPUT_MAX_CHARS,
        ) from exc
    check_size(written(filled))
    if problems := json_schema.violations(spell.input_schema, filled, at="/input"):
        raise InvalidInput(
            f"The input does not fit the spell's input_schema in {len(problems)} place(s).", errors=problems
        )
    if problems := runtime_for(spell.runtime).refusals(spell, filled):
        raise InvalidInput(
            f"The spell's workflow can't take this input, for {len(problems)} reason(s).", errors=problems
        )
    return filled


def check_size(text: str) -> None:
    """Raise InputTooLarge if a workflow can't be given this JSON, however it is handed over."""
    most: dict[str, Any]
    chars, size = len(text), len(text.encode())
    if chars > settings.CAST_INPUT_MAX_CHARS:
        most = {"max_chars": settings.CAST_INPUT_MAX_CHARS}
        measured = f"{chars} characters of JSON; at most {settings.CAST_INPUT_MAX_CHARS}"
    elif size > settings.CAST_INPUT_MAX_BYTES:
        most = {"max_bytes": settings.CAST_INPUT_MAX_BYTES}
        measured = f"{size} bytes of JSON; at most {settings.CAST_INPUT_MAX_BYTES}"
    else:
        return
    raise InputTooLarge(
        f"The input is {measured} can be handed to a workflow. Pass a link to bulky data instead.", **most
    )
