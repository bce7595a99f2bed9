import base64
import binascii
import hmac
import ipaddress
import json
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map
from werkzeug.wrappers import Request, Response

from . import control, errors, events, ids, payments, routing
from .billing import routes as billing
from .config import API_VERSION
from .errors import ApiError
from .idempotency import Kept
from .lists import expanded
from .params import nest, parse
from .routing import Api, Call, Page
from .store import public
from .world import World

logger = logging.getLogger(__name__)
# Importing them filled the table of routes.
MODULES = (control, events, *billing.MODULES, *payments.MODULES)
MAX_BODY = 1_000_000  # bytes
SECRET_PARAMS = {"number", "cvc"}  # of a card: in no record and no log
NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
    "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we "
    "can help at https://support.stripe.com/."
)


class App:
    """Stripe's API, its hosted pages and the control plane as a WSGI application."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.routes: Map = routing.table()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = MAX_BODY
        self.world.happened += 1
        if not _ours(request, self.world.config.host):
            return Response("The local Stripe is not called by this Host.", 421)(environ, start_response)
        try:
            if request.path.startswith("/_local/"):
                answer = self._local(request)
            elif request.path.startswith(("/v1/", "/v2/")):
                answer = self._api(request)
            else:
                answer = self._page(request)
        except HTTPException as error:
            refusal = ApiError(error.code or 500, error.name)
            answer = _json(refusal.body("req_unread"), refusal.status)
        return answer(environ, start_response)

    # --- the control plane, and pages ------------------------------------------------------------------------------

    def _local(self, request: Request) -> Response:
        # It could lose money that does not exist, but it is for this machine and for who started us.
        if not ipaddress.ip_address(request.remote_addr or "0.0.0.0").is_loopback:  # noqa: S104 means unknown here
            return Response("", 404)
        if not _has_key(request, self.world.config.secret_key):
            return Response("Send the secret key as the API takes it.\n", 401)
        return self._page(request)

    def _page(self, request: Request) -> Response:
        found, values = self.routes.bind_to_environ(request.environ).match()
        if not isinstance(found, Page):
            return Response("", 404)
        try:
            return found.handler(self.world, request, **values)
        except ApiError as error:
            return _json(error.body("req_local"), error.status)

    # --- the API ---------------------------------------------------------------------------------------------------

    def _api(self, request: Request) -> Response:
        request_id = ids.new("req", 14)
        # Before any fault, so that the record has what was asked even if no answer goes out.
        raw = _sent(request)
        entry = self.world.note(
            at=self.world.clock.now(),
            method=request.method,
            path=request.path,
            params=_masked(raw),
            idempotency_key=request.headers.get("Idempotency-Key"),
            request_id=request_id,
            status=None,  # stays if the connection is dropped
            replayed=False,
            code=None,
        )
        faults = self.world.faults
        if faults.unreachable:
            _drop(request)
        if faults.applies(request.method, request.path):
            faults.pause("latency_ms")
        if faults.strikes("reset_before", request.method, request.path):
            _drop(request)
        try:
            answer = self._answer(request, raw, request_id)
        except ApiError as error:
            answer = _json(error.body(request_id), error.status, error.headers)
            entry["code"] = error.code or error.type
        if faults["webhooks"]["before_answer"]:
            self.world.hooks.wait()
        if faults.strikes("reset_after", request.method, request.path):
            _drop(request)
        if faults.strikes("error_5xx_after", request.method, request.path):
            answer = _json(errors.server_error(502).body(request_id), 502)
        entry["replayed"] = "Idempotent-Replayed" in answer.headers
        entry["status"] = answer.status_code
        answer.headers["Request-Id"] = request_id
        answer.headers["Stripe-Version"] = request.headers.get("Stripe-Version", API_VERSION)
        if key := request.headers.get("Idempotency-Key"):
            answer.headers["Idempotency-Key"] = key
        return answer

    def _answer(self, request: Request, raw: Any, request_id: str) -> Response:
        self._authenticate(request)
        faults = self.world.faults
        if faults.strikes("rate_limit", request.method, request.path):
            raise errors.rate_limited()
        if faults.strikes("error_5xx", request.method, request.path):
            raise errors.server_error(503)
        route, values = self._match(request)
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        call = Call(self.world, {}, request_id, key, request.path)
        if key is None:
            call.params = parse(raw, route.params)
            return _json(self._execute(route, call, values))
        kept = self.world.idempotency.claim(key, request.method, request.path, raw, request_id)
        if kept is not None:
            return _replayed(kept)
        try:
            call.params = parse(raw, route.params)
            status, body = self._kept_answer(route, call, values)
        except BaseException:
            self.world.idempotency.forget(key)
            raise
        self.world.idempotency.keep(key, status, body)
        return _json(body, status)

    def _kept_answer(self, route: Api, call: Call, values: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        faults, request_id = self.world.faults, call.request_id or ""
        try:
            if faults.applies("POST", call.path):
                faults.pause("hold_ms")
            if faults.strikes("error_500_kept", "POST", call.path):
                raise errors.server_error(kept=True)
            body = self._execute(route, call, values)
            if faults.strikes("error_500_kept_after", "POST", call.path):
                raise errors.server_error(kept=True)
            return 200, body
        except ApiError as error:
            if not error.kept:
                raise
            return error.status, error.body(request_id)

    def _execute(self, route: Api, call: Call, values: dict[str, Any]) -> dict[str, Any]:
        expand = call.params.pop("expand", [])
        with self.world.lock:
            self.world.calls.append(call)
            try:
                return expanded(self.world, route.handler(call, **values), expand)
            except ApiError as error:
                error.error = public(error.error)  # it may hold objects, which go on changing
                raise
            except Exception:
                logger.exception("%s", call.path)
                raise errors.server_error(kept=True) from None
            finally:
                self.world.calls.pop()

    def _match(self, request: Request) -> tuple[Api, dict[str, Any]]:
        try:
            found, values = self.routes.bind_to_environ(request.environ).match()
        except HTTPException:
            found, values = None, {}
        if not isinstance(found, Api):
            text = f"Unrecognized request URL ({request.method}: {request.path}). Please see https://stripe.com/docs"
            raise ApiError(404, f"{text} or we can help at https://support.stripe.com/.")
        return found, dict(values)

    def _authenticate(self, request: Request) -> None:
        if not request.headers.get("Authorization"):
            raise errors.unauthorized(NO_KEY)
        if not _has_key(request, self.world.config.secret_key):
            given = _given_key(request)
            shown = f"{given[:8]}{'*' * 12}{given[-4:]}" if len(given) > 16 else "*" * len(given)
            raise errors.unauthorized(f"Invalid API Key provided: {shown}")


def _sent(request: Request) -> Any:
    """Return the parameters as they were sent, nested but untyped."""
    if request.method == "GET" or request.method == "DELETE":
        text = request.query_string.decode()
    else:
        body = request.get_data()
        if request.path.startswith("/v2/"):
            try:
                found = json.loads(body or b"{}")
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
        text = body.decode(errors="replace")
    return nest(parse_qsl(text, keep_blank_values=True))


def _masked(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {name: "***" if name in SECRET_PARAMS else _masked(value) for name, value in raw.items()}
    return [_masked(value) for value in raw] if isinstance(raw, list) else raw


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, headers=headers, content_type="application/json")


def _replayed(kept: Kept) -> Response:
    assert kept.status is not None
    return _json(kept.body, kept.status, {"Idempotent-Replayed": "true", "Original-Request": kept.request_id})


def _given_key(request: Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return given.strip() if scheme.lower() == "bearer" else ""


def _has_key(request: Request, key: str) -> bool:
    return hmac.compare_digest(_given_key(request).encode(), key.encode())


def _ours(request: Request, host: str) -> bool:
    """Whether a Host header names this machine: a web page elsewhere may have made its own name lead here."""
    name = request.headers.get("Host", "").rsplit(":", 1)[0].strip("[]").lower()
    if name in (host, "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _drop(request: Request) -> None:
    connection = request.environ.get("werkzeug.socket")
    if connection is not None:
        # The client must see a broken connection, not an HTTP error.
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("a fault was asked for")
