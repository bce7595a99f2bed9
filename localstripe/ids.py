import secrets
import string

_ALPHABET = string.digits + string.ascii_letters


def random_part(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new(prefix: str, length: int = 24) -> str:
    """Return a new id such as pi_3N…; as with Stripe, ids are in no order."""
    return f"{prefix}_{random_part(length)}"
