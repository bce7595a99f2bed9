"""The table of routes, filled by decorators, and what a handler is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response

from .params import Kind, List, Text
from .store import Obj

if TYPE_CHECKING:
    from .world import World


@dataclass
class Call:
    """One request to the API, its parameters parsed."""

    world: "World"
    params: dict[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    idempotency_key: str | None = None
    path: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.params.get(name, default)


ApiHandler = Callable[..., Obj]  # (call, **path values)
PageHandler = Callable[..., Response]  # (world, request, **path values)


@dataclass(eq=False)
class Api:
    """A route under /v1 or /v2."""

    handler: ApiHandler
    params: Mapping[str, Kind]


@dataclass(eq=False)
class Page:
    """A route that takes the request as it is: hosted pages, and the control plane under /_local/."""

    handler: PageHandler


RULES: list[Rule] = []
EXPAND: dict[str, Kind] = {"expand": List(Text())}


def api(method: str, path: str, params: Mapping[str, Kind] | None = None) -> Callable[[ApiHandler], ApiHandler]:
    """Serve an API route; `expand` is taken by all of them."""

    def register(handler: ApiHandler) -> ApiHandler:
        RULES.append(Rule(path, methods=[method], endpoint=Api(handler, {**EXPAND, **(params or {})})))
        return handler

    return register


def page(method: str, path: str) -> Callable[[PageHandler], PageHandler]:
    def register(handler: PageHandler) -> PageHandler:
        RULES.append(Rule(path, methods=[method], endpoint=Page(handler)))
        return handler

    return register


def table() -> Map:
    return Map([rule.empty() for rule in RULES], merge_slashes=False)
