"""Stripe's error bodies. Source: https://docs.stripe.com/api/errors, https://docs.stripe.com/error-codes"""

from collections.abc import Iterable
from typing import Any

DOCS = "https://stripe.com/docs/error-codes/"


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        kept: bool = True,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        """`kept`: a repeat of the request with its idempotency key finds the same answer, once it was carried out."""
        super().__init__(message)
        self.status, self.type, self.code, self.kept, self.headers = status, type, code, kept, headers or {}
        self.error: dict[str, Any] = {"message": message, "type": type}
        if code:
            self.error |= {"code": code, "doc_url": DOCS + code.replace("_", "-")}
        if param is not None:
            self.error["param"] = param
        self.error |= {name: value for name, value in more.items() if value is not None}

    def body(self, request_id: str) -> dict[str, Any]:
        log = f"https://dashboard.stripe.com/test/logs/{request_id}?t=0"
        return {"error": {**self.error, "request_log_url": log}}


def missing(name: str) -> ApiError:
    return ApiError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)


def unknown(names: Iterable[str]) -> ApiError:
    found = list(names)
    word = "parameter" if len(found) == 1 else "parameters"
    message = f"Received unknown {word}: {', '.join(found)}"
    return ApiError(400, message, code="parameter_unknown", param=found[0])


def invalid(message: str, param: str, code: str | None = None) -> ApiError:
    return ApiError(400, message, code=code, param=param)


def no_such(kind: str, id: str, param: str = "id") -> ApiError:
    """404 where the path names it, 400 where a parameter does."""
    message = f"No such {kind}: '{id}'"
    return ApiError(404 if param == "id" else 400, message, code="resource_missing", param=param)


def unauthorized(message: str) -> ApiError:
    return ApiError(401, message, kept=False, headers={"WWW-Authenticate": 'Basic realm="Stripe"'})


def server_error(status: int = 500, *, kept: bool = False) -> ApiError:
    message = "An unknown error occurred. If this persists, contact Stripe support."
    return ApiError(status, message, type="api_error", kept=kept)


def rate_limited() -> ApiError:
    message = "Request rate limit exceeded. Learn more: https://stripe.com/docs/rate-limits"
    return ApiError(429, message, code="rate_limit", kept=False, headers={"Stripe-Rate-Limited-Reason": "global-rate"})
