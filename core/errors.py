"""What can go wrong for a caller: the family that every app raises from."""

from typing import Any


class SpellError(Exception):
    """Something the caller can fix; the API renders it as a problem (RFC 9457)."""

    code = "INTERNAL"
    status = 500
    title = "Internal error"

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.headers = headers or {}
        self.extra = extra


class Unauthorized(SpellError):
    """No key, or one that does not open anything."""

    code, status, title = "UNAUTHORIZED", 401, "Not authenticated"


class Forbidden(SpellError):
    """A good key that may not do this."""

    code, status, title = "FORBIDDEN", 403, "Not allowed"


class BadQuery(SpellError):
    """A query parameter that can't be used."""

    code, status, title = "VALIDATION_ERROR", 422, "Not valid"


class InputTooLarge(SpellError):
    """More than we accept."""

    code, status, title = "INPUT_TOO_LARGE", 413, "Input too large"


class UnsupportedBody(SpellError):
    """A body in another form than ours."""

    code, status, title = "UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported media type"


class InvalidInput(SpellError):
    """Understood, and against the rules; `errors` lists every place."""

    code, status, title = "VALIDATION_ERROR", 422, "Not valid"


class Malformed(SpellError):
    """A header or parameter that can't be read."""

    code, status, title = "MALFORMED_REQUEST", 400, "Malformed request"
