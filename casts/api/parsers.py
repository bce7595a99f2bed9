"""Reading request bodies: small, strict JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from accounts.errors import SpellError
from casts import results

BODY_MAX_BYTES = 1024 * 1024


class InputTooLarge(SpellError):
    """More than we take."""

    code, status, title = "INPUT_TOO_LARGE", 413, "Input too large"


def no_constant(name: str) -> Any:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{name} is not JSON")


class StrictJSONParser(BaseParser):
    """A JSON object in UTF-8, of 1 MiB at most, that a database can keep."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the parsed body. Raise ParseError (400) or InputTooLarge (413)."""
        raw = stream.read(BODY_MAX_BYTES + 1)
        if len(raw) > BODY_MAX_BYTES:
            raise InputTooLarge(f"The request body is larger than {BODY_MAX_BYTES} bytes.", max_bytes=BODY_MAX_BYTES)
        try:
            body = json.loads(raw.decode("utf-8-sig"), parse_constant=no_constant)
            results.storable(body)
        except RecursionError as exc:
            raise ParseError("The request body is nested too deeply.") from exc
        except ValueError as exc:
            raise ParseError(f"The request body is not JSON: {exc}.") from exc
        if not isinstance(body, dict):
            raise ParseError('The request body must be a JSON object, such as {"spell_key": "greet", "input": {}}.')
        return body
