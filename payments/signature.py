"""Whether a webhook is Stripe's: signed with one of our secrets, and lately."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

TOLERANCE = 300  # seconds that a webhook may be under way
# The library takes any time to come: what was signed for later could be kept, and sent again until then.
AHEAD = 60  # seconds that Stripe's clock may be ahead of ours
SIGNED_AT = re.compile(r"(?:^|,)t=([^,]*)")  # the first one counts, as it does for the library


def signature_matches(body: bytes, header: str, secrets: Sequence[str]) -> bool:
    """Return whether `header` (Stripe-Signature) signs `body` with one of `secrets`, not long ago and not in future.

    Several secrets during a change; an empty list accepts nothing.
    Source: https://docs.stripe.com/webhooks#verify-manually
    """
    from stripe import SignatureVerificationError, WebhookSignature

    signed_at = SIGNED_AT.search(header)
    if not header.isascii() or signed_at is None or not re.fullmatch(r"[0-9]{1,12}", signed_at[1]):
        return False
    if int(signed_at[1]) > time.time() + AHEAD:
        return False
    for secret in secrets:
        try:
            WebhookSignature.verify_header(body, header, secret, TOLERANCE)
        except (SignatureVerificationError, UnicodeDecodeError):
            continue
        return True
    return False
