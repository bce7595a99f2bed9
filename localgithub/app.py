import ipaddress
import logging
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import (
    guards,
    pages,
    routes_app,
    routes_control,
    routes_installations,
    routes_manifest,
    routes_outcomes,
    routes_repositories,
    routes_runs,
    routes_workflows,
)
from .answers import ApiError, not_found, with_etag
from .clock import iso, now
from .config import API_VERSIONS, DEFAULT_VERSION
from .world import World

logger = logging.getLogger(__name__)
GHES_PREFIX = "/api/v3"
MODULES = (
    *(routes_app, routes_repositories, routes_outcomes, routes_workflows, routes_runs),
    *(routes_manifest, routes_installations, routes_control, pages),
)
ALL_RULES = [rule for module in MODULES for rule in module.RULES]
ROUTES = Map(
    [Rule(path, methods=[method], endpoint=handler) for method, path, handler in ALL_RULES],
    merge_slashes=False,
)


class Api:
    """GitHub's REST API as a WSGI application."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(GHES_PREFIX + "/"):
            environ["PATH_INFO"] = path.removeprefix(GHES_PREFIX)
        request = Request(environ)
        if (refused := guards.refusal(request, host=self.world.config.host, forms=True)) is not None:
            return ApiError(*refused).response()(environ, start_response)
        answer = self._local(request) if request.path.startswith("/_local/") else self._public(request)
        return answer(environ, start_response)

    def _local(self, request: Request) -> Response:
        # The control plane could suspend the App or revoke its tokens: it is for this machine, and for who started us.
        if not ipaddress.ip_address(request.remote_addr or "0.0.0.0").is_loopback:  # noqa: S104 means unknown here
            return not_found().response()
        if not guards.may_control(request, self.world.control_token):
            return ApiError(
                401, f"Send Authorization: Bearer and what {guards.CONTROL_TOKEN} in --state-dir holds"
            ).response()
        return self._route(request)

    def _public(self, request: Request) -> Response:
        # Before any fault, so that the record has what was asked even if no answer goes out.
        entry = self._note(request)
        faults = self.world.faults
        if faults.unreachable:
            _drop(request)
        touched = faults.applies(request.method, request.path)
        if touched:
            faults.wait()
        if faults.strikes("reset_before", request.method, request.path):
            _drop(request)
        answer = self._refusal(request) if touched else None
        answer = answer or self._answer(request)
        if entry is not None:
            entry["runs"] = request.environ.get("local.runs", [])
        if faults.strikes("reset_after", request.method, request.path):
            _drop(request)
        if faults.strikes("error_5xx_after", request.method, request.path):
            answer = ApiError(502, "Server Error").response()
        if entry is not None:
            entry["status"] = answer.status_code
        return self._finish(request, answer)

    def _note(self, request: Request) -> dict[str, Any] | None:
        """Begin the record's entry for a dispatch; its status stays None if the connection is dropped."""
        if request.method != "POST" or not request.path.endswith("/dispatches"):
            return None
        body = request.get_json(force=True, silent=True)
        inputs = (body.get("inputs") or body.get("client_payload") or {}) if isinstance(body, dict) else {}
        entry: dict[str, Any] = {
            "at": iso(now()),
            "time": time.time(),
            "path": request.path,
            **{name: inputs.get(name) if isinstance(inputs, dict) else None for name in ("cast_id", "traceparent")},
            "status": None,
            "runs": [],
        }
        self.world.dispatches.append(entry)
        return entry

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer of a fault that strikes before the request is carried out, None if there is none."""
        faults = self.world.faults
        if faults.api["primary_exhausted"] and request.path != "/rate_limit":
            return self.world.rate_error().response()
        if faults.strikes("secondary_rate_limit", request.method, request.path):
            return ApiError(
                403,
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
                headers={"Retry-After": str(faults.api["retry_after"])},
            ).response()
        if faults.strikes("error_5xx", request.method, request.path):
            return ApiError(
                503,
                "No server is currently available to service your request. Sorry about that. Please try resubmitting "
                "your request and contact us if the problem persists.",
            ).response()
        return None

    def _answer(self, request: Request) -> Response:
        if not request.headers.get("User-Agent"):
            text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
            return Response(
                f"{text} (https://docs.github.com/rest/overview/resources-in-the-rest-api#user-agent-required).", 403
            )
        version = request.headers.get("X-GitHub-Api-Version", DEFAULT_VERSION)
        request.environ["local.version"] = version
        if version not in API_VERSIONS[self.world.config.api]:
            known = ", ".join(API_VERSIONS[self.world.config.api])
            return ApiError(
                400,
                f"Version {version} is not supported. Supported versions: {known}.",
                "/about-the-rest-api/api-versions",
            ).response()
        answer = self._route(request)
        is_json = (answer.content_type or "").startswith("application/json")
        return (
            with_etag(request, answer) if request.method == "GET" and answer.status_code == 200 and is_json else answer
        )

    def _route(self, request: Request) -> Response:
        try:
            handler, values = ROUTES.bind_to_environ(request.environ).match()
            answer: Response = handler(self.world, request, **values)
            return answer
        except ApiError as error:
            return error.response()
        except HTTPException:
            return not_found().response()  # a wrong path, a trailing slash and a wrong method look alike
        except Exception:
            logger.exception("%s %s", request.method, request.path)
            return ApiError(500, "Server Error").response()

    def _finish(self, request: Request, answer: Response) -> Response:
        version = request.environ.get("local.version", DEFAULT_VERSION)
        # GitHub counts neither of them.
        free = answer.status_code == 304 or request.path == "/rate_limit"
        rate = self.world.rate(count=not free)
        answer.headers.update({f"X-RateLimit-{name.title()}": str(value) for name, value in rate.items()})
        answer.headers.update(
            {
                "X-RateLimit-Resource": "core",
                "X-GitHub-Request-Id": uuid.uuid4().hex[:20].upper(),
                "X-GitHub-Media-Type": "github.v3; format=json",
                "X-GitHub-Api-Version-Selected": version,
            }
        )
        if self.world.config.api.startswith("ghes"):
            answer.headers["X-GitHub-Enterprise-Version"] = self.world.config.api.removeprefix("ghes-") + ".0"
        return answer


def _drop(request: Request) -> None:
    connection = request.environ.get("werkzeug.socket")
    if connection is not None:
        # The client must see a broken connection, not an HTTP error.
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("a fault was asked for")
