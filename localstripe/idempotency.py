"""Idempotency keys. Source: https://docs.stripe.com/api/idempotent_requests

The status and body of the first request that began to execute are kept for 24 hours, 500s included. What was refused
before that (parameters that don't fit, another request of the same key under way, too many requests) is not kept.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .errors import ApiError

KEPT = 24 * 3600  # seconds
LONGEST = 255  # characters


@dataclass
class Kept:
    fingerprint: str
    at: float
    request_id: str
    status: int | None = None  # None while the first request is under way
    body: Any = None


class Idempotency:
    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}

    def claim(self, key: str, method: str, path: str, params: Any, request_id: str) -> Kept | None:
        """Take a key for a request, and return what an earlier one with this key was answered, if any.

        Raise ApiError if the key was used for something else, or if its first request is still under way.
        """
        if len(key) > LONGEST:
            text = f"Idempotency keys can be at most {LONGEST} characters. The key you passed is {len(key)} characters."
            raise ApiError(400, text, type="invalid_request_error", kept=False)
        fingerprint = f"{method} {path} {json.dumps(params, sort_keys=True)}"
        with self._lock:
            known = self._kept.get(key)
            if known is None or known.at + KEPT <= self._time():
                self._kept[key] = Kept(fingerprint, self._time(), request_id)
                return None
            if known.fingerprint != fingerprint:
                what = "parameters" if known.fingerprint.split(" ")[:2] == [method, path] else "endpoint"
                raise ApiError(
                    400,
                    f"Keys for idempotent requests can only be used with the same {what} they were first used with. "
                    f"Try using a key other than '{key}' if you meant to execute a different request.",
                    type="idempotency_error",
                    kept=False,
                )
            if known.status is None:
                raise ApiError(
                    409,
                    "There is currently another in-progress request using this Idempotent Key (that probably means you "
                    f"submitted twice, and the other request is still going through): {key}. Please try again later.",
                    type="idempotency_error",
                    code="idempotency_key_in_use",
                    kept=False,
                )
            return known

    def dump(self) -> dict[str, Any]:
        """Return what is kept; what is under way ends with the process, and may be asked for again."""
        with self._lock:
            return {key: asdict(kept) for key, kept in self._kept.items() if kept.status is not None}

    def load(self, kept: dict[str, Any]) -> None:
        self._kept = {key: Kept(**one) for key, one in kept.items()}

    def keep(self, key: str, status: int, body: Any) -> None:
        with self._lock:
            self._kept[key].status, self._kept[key].body = status, body

    def forget(self, key: str) -> None:
        with self._lock:
            self._kept.pop(key, None)
