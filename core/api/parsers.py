"""Reading request bodies: small, strict JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from core.errors import InputTooLarge, UnsupportedBody
from core.limits import BODY_BYTES
from core.strict_json import storable

GZIP = b"\x1f\x8b"  # how gzip data begins, and JSON never does
UTF_8 = ("utf-8", "utf8", "us-ascii", "ascii")


def check_form(request: Request) -> None:
    """Raise UnsupportedBody for a body declared as compressed, or in another charset than UTF-8."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedBody(f"Bodies compressed with {coding[:20]} are not taken. Send it as it is: JSON in UTF-8.")
    _, options = parse_header_parameters(request.headers.get("Content-Type", ""))
    charset = options.get("charset", "utf-8").strip().lower()
    if charset not in UTF_8:
        raise UnsupportedBody(f"Bodies in {charset[:20]} are not taken. Encode its JSON in UTF-8.")


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class StrictJSONParser(BaseParser):
    """A JSON object in UTF-8, of at most 1 MiB, that a database can store."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the parsed body. Raise ParseError (400), InputTooLarge (413) or UnsupportedBody (415)."""
        check_form((parser_context or {})["request"])
        raw = stream.read(BODY_BYTES + 1)
        if len(raw) > BODY_BYTES:
            raise InputTooLarge(f"The request body is larger than {BODY_BYTES} bytes.", max_bytes=BODY_BYTES)
        if raw.startswith(GZIP):
            raise UnsupportedBody("The request body is compressed. Send it as it is: JSON in UTF-8.")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            why = f"The request body is not UTF-8 (at byte {exc.start}). Encode its JSON in UTF-8"
            # These two bytes are rare in Latin-1, and make the byte order mark of UTF-16.
            like = (
                ""
                if b"\xff" in raw or b"\xfe" in raw
                else ", not in Latin-1; some clients do that unless told otherwise"
            )
            raise UnsupportedBody(f"{why}{like}.") from exc
        if "\0" in text[:4]:  # JSON in UTF-8 never begins so
            raise UnsupportedBody("The request body is in UTF-16 or UTF-32. Encode its JSON in UTF-8.")
        try:
            body = json.loads(text, parse_constant=no_constant)
        except RecursionError as exc:
            raise ParseError("The request body is nested too deeply.") from exc
        except ValueError as exc:
            raise ParseError(f"The request body is not JSON: {exc}.") from exc
        try:
            storable(body)
        except RecursionError as exc:
            raise ParseError("The request body is nested too deeply.") from exc
        except ValueError as exc:
            raise ParseError(f"The request body can't be stored: {exc}.") from exc
        if not isinstance(body, dict):
            raise ParseError('The request body must be a JSON object, such as {"spell_key": "greet", "input": {}}.')
        return body
