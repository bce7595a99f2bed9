"""What can go wrong for a caller who pays."""

from core.errors import SpellError


class BudgetExceeded(SpellError):
    """The account's monthly cap would be passed by this cast."""

    code, status, title = "BUDGET_CAP_EXCEEDED", 402, "Budget cap exceeded"


class KeyNotFound(SpellError):
    """No such key in this account."""

    code, status, title = "KEY_NOT_FOUND", 404, "API key not found"


class TooManyKeys(SpellError):
    """The account has as many valid keys as it may."""

    code, status, title = "TOO_MANY_KEYS", 409, "Too many API keys"


class KeyNotRotated(SpellError):
    """A key that has ended, or was replaced before."""

    code, status, title = "KEY_NOT_ROTATED", 409, "API key not rotated"


class KeyMadeBefore(SpellError):
    """A form that makes a key was sent twice."""

    code, status, title = "CONFLICT", 409, "Conflict"


class TooManyOpenCasts(SpellError):
    """The account has as many open casts as it may."""

    code, status, title = "TOO_MANY_OPEN_CASTS", 429, "Too many open casts"
