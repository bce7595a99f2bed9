"""Whether a delivery was signed with our secret."""

import hmac
from collections.abc import Sequence

from django.utils.crypto import constant_time_compare


def signature_matches(body: bytes, header: str, secrets: Sequence[str]) -> bool:
    """Return whether `header` (X-Hub-Signature-256) signs `body` with one of `secrets`.

    Two secrets during a rotation; an empty list accepts nothing.
    Source: https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    """
    expected = ["sha256=" + hmac.new(s.encode(), body, "sha256").hexdigest() for s in secrets if s]
    return any([constant_time_compare(header, e) for e in expected])  # noqa: C419 - every one is compared
