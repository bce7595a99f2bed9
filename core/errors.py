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
