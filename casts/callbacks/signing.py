"""How callbacks are signed: Standard Webhooks (https://www.standardwebhooks.com), secrets that begin with `whsec_`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

SECRET_PREFIX, SECRET_BYTES = "whsec_", 32  # the specification wants 24 to 64 random bytes


# --- Signatures ------------------------------------------------------------------------------------------------


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(keys: list[str], *, message: str, timestamp: int, body: bytes) -> str:
    """Return the webhook-signature: one `v1,...` for each secret, newest first.

    Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    signed = f"{message}.{timestamp}.".encode() + body
    return " ".join(
        "v1,"
        + base64.b64encode(
            hmac.digest(base64.b64decode(key.removeprefix(SECRET_PREFIX)), signed, hashlib.sha256)
        ).decode()
        for key in keys
    )
