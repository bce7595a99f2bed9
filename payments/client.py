"""Stripe's client, and what its errors mean. The library is imported only where it is used: it is large.

Every call is tried once by the library: what is not known to be done is asked for again by the row's next step, under
the same idempotency key.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from core import shares

if TYPE_CHECKING:
    from stripe import StripeClient, StripeError

logger = logging.getLogger(__name__)

# Of a worker's threads, what waits for Stripe has this part at most, all kinds together: casts must go on.
LANE, THREAD_SHARE = "stripe", 0.5
TIMEOUT = (5.0, 20.0)  # seconds: to connect, and between two bytes of the answer
REQUEST_TIMEOUT = (3.0, 8.0)  # while somebody waits for our own answer
# For how long the same request may be repeated under its idempotency key. Stripe keeps keys for 24 hours at least
# (https://docs.stripe.com/api/idempotent_requests); an hour is left for clocks and slow answers.
KEY_LASTS = dt.timedelta(hours=23)


class StripeTrouble(Exception):
    """A call to Stripe did not come to what was asked for. `str` may be shown to operators."""

    def __init__(self, message: str, *, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.code, self.request_id = code, request_id


class Unavailable(StripeTrouble):
    """Stripe did not answer, failed, or limits us. It may have acted all the same: ask again under the same key."""


class Spent(Unavailable):
    """Stripe failed, and repeats that for as long as it keeps the idempotency key: see payments.keys."""


class Declined(StripeTrouble):
    """The card was declined. `intent_id` is the PaymentIntent that says so, blank if the answer named none."""

    def __init__(
        self, message: str, *, code: str = "", decline_code: str = "", intent_id: str = "", request_id: str = ""
    ) -> None:
        super().__init__(message, code=code, request_id=request_id)
        self.decline_code, self.intent_id = decline_code, intent_id


class Refused(StripeTrouble):
    """Stripe refused the request as it is; asking again changes nothing."""


class Missing(Refused):
    """Stripe has no such object."""


class KeyReused(Refused):
    """The idempotency key was used for another request: a bug of ours, never to be asked again under a new key."""


class Unauthorized(Refused):
    """STRIPE_SECRET_KEY is wrong, revoked, or lacks a permission. It may be corrected: worth asking again later."""


@cache
def _client(secret_key: str, url: str, timeout: tuple[float, float]) -> StripeClient:
    import stripe

    return stripe.StripeClient(
        secret_key,
        base_addresses={"api": url},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=timeout),
    )


def client() -> StripeClient:
    """Return the client for STRIPE_SECRET_KEY. Use it within `errors`.

    Whoever serves a request steps aside for it, so that others are served meanwhile. Raise Unavailable if so many wait
    for Stripe already that no more may.
    """
    if not shares.step_aside():
        raise Unavailable("As many requests wait for Stripe as may at a time.")
    timeout = REQUEST_TIMEOUT if shares.serving() else TIMEOUT
    return _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL, timeout)


def live() -> bool:
    """Whether the key moves real money. Stripe keeps what is made in test mode apart."""
    return settings.STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))


@contextmanager
def errors() -> Iterator[None]:
    """Raise our errors in place of Stripe's."""
    import stripe

    try:
        yield
    except stripe.CardError as exc:
        error = exc.error
        intent = getattr(error, "payment_intent", None) if error is not None else None
        raise Declined(
            exc.user_message or "The card was declined.",
            code=exc.code or "",
            decline_code=str(getattr(error, "decline_code", None) or ""),
            intent_id=str(intent.id) if intent is not None else "",
            request_id=exc.request_id or "",
        ) from exc
    except stripe.IdempotencyError as exc:
        if exc.http_status == 409:  # the same request is under way
            raise Unavailable(told(exc), code=exc.code or "", request_id=exc.request_id or "") from exc
        raise KeyReused(told(exc), code=exc.code or "", request_id=exc.request_id or "") from exc
    except (stripe.AuthenticationError, stripe.PermissionError) as exc:
        raise Unauthorized(told(exc), code=exc.code or "", request_id=exc.request_id or "") from exc
    except stripe.APIError as exc:
        # Stripe failed, or something between us answered in its place: neither says that nothing was done. What that
        # wrote is not told on: it may be half of an answer.
        said = told(exc) if _is_stripes(exc) else "Stripe's answer can't be read."
        raise (Spent if _is_kept(exc) else Unavailable)(
            f"{said} (HTTP {exc.http_status})", code=exc.code or "", request_id=exc.request_id or ""
        ) from exc
    except (stripe.APIConnectionError, stripe.RateLimitError) as exc:
        raise Unavailable(told(exc), code=exc.code or "", request_id=exc.request_id or "") from exc
    except stripe.StripeError as exc:
        # 429 also comes without its own class.
        unknown = exc.http_status is None or exc.http_status >= 500 or exc.http_status in (409, 429)
        kind = (
            Unavailable if unknown else Missing if exc.http_status == 404 or exc.code == "resource_missing" else Refused
        )
        raise kind(told(exc), code=exc.code or "", request_id=exc.request_id or "") from exc


def _is_stripes(exc: StripeError) -> bool:
    return isinstance(exc.json_body, dict) and "error" in exc.json_body


def _is_kept(exc: StripeError) -> bool:
    """Whether a failure is Stripe's own, and an old one."""
    replayed = {name.lower(): value for name, value in (exc.headers or {}).items()}.get("idempotent-replayed")
    return _is_stripes(exc) and replayed == "true" and (exc.http_status or 0) >= 500


def told(exc: Exception) -> str:
    """Return what Stripe said, in one line. It quotes parameters, of which none of ours is secret."""
    message = getattr(exc, "user_message", None) or type(exc).__name__
    return " ".join(str(message).split())[:300]


def plain(found: Any) -> dict[str, Any]:
    """Return an object of Stripe's, or a part of one, as a dict, all the way down; an empty one if there is none."""
    if found is None or isinstance(found, dict):
        return found or {}
    return dict(found.to_dict())


def id_of(value: Any) -> str:
    """Return the id in a field that Stripe may have expanded; blank for none."""
    return str(value["id"]) if isinstance(value, dict) else str(value or "")


def of_our_mode(facts: dict[str, Any]) -> bool:
    """Whether an object is of our key's mode; one of the other is nobody's, and logged: test money buys nothing."""
    if facts.get("livemode", live()) == live():
        return True
    logger.error("object of the other mode", extra={"type": facts.get("object"), "id": facts.get("id")})
    return False


def named_in(facts: dict[str, Any], name: str) -> uuid.UUID | None:
    """Return which row of ours an object's metadata names, None if it names none."""
    try:
        return uuid.UUID((facts.get("metadata") or {}).get(name, ""))
    except (ValueError, AttributeError):
        return None
