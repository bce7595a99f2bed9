"""What Stripe's official SDK says of the API: its classes and parameters are generated from the published schema."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, get_origin, get_type_hints

import stripe
from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES
from stripe._request_options import RequestOptions
from stripe._stripe_object import StripeObject
from stripe.events._event_classes import get_v2_event_class
from stripe.v2.core._event import Event as ThinEvent
from typing_extensions import is_typeddict

SDK = Path(stripe.__file__).parent
CALL_OPTIONS = frozenset(RequestOptions.__annotations__)  # no parameters: they go out as headers, or not at all
METHOD = re.compile(
    r"    def \w+\((?P<takes>[^)]*)\) -> (?P<gives>.+?):\n"
    r'(?:(?!    def ).)*?"(?P<method>get|post|delete)",\s+"(?P<path>/v[12]/[^"]*)"',
    re.DOTALL,
)


class Operation(NamedTuple):
    """One call: the form of its path, and the names of what it takes and gives, as its module knows them."""

    path: re.Pattern[str]
    placeholders: int
    module: str
    takes: str
    gives: str

    @property
    def params(self) -> Any:
        return named(self.module, self.takes) if self.takes else None

    @property
    def answer(self) -> Any:
        return named(self.module, self.gives)


@cache
def operations() -> dict[str, list[Operation]]:
    """Return the calls of each HTTP method, those without placeholders in their path first."""
    found: dict[str, list[Operation]] = {"get": [], "post": [], "delete": []}
    for file in SDK.rglob("*_service.py"):
        module = ".".join(file.relative_to(SDK.parent).with_suffix("").parts)
        for match in METHOD.finditer(file.read_text(encoding="utf-8")):
            parts = re.split(r"\{\w+\}", match["path"])
            takes = re.search(r'"(\w+Params)"', match["takes"])
            found[match["method"]].append(
                Operation(
                    path=re.compile("[^/]+".join(map(re.escape, parts))),
                    placeholders=len(parts) - 1,
                    module=module,
                    takes=takes[1] if takes else "",
                    gives=match["gives"].strip('"'),
                )
            )
    for each in found.values():
        each.sort(key=lambda one: one.placeholders)
    return found


@cache
def operation(method: str, path: str) -> Operation | None:
    matching = (one for one in operations().get(method.lower(), []) if one.path.fullmatch(path))
    return next(matching, None)


@cache
def names_in(module: str) -> dict[str, Any]:
    """Return a module's names, with those that it imports for type checkers alone."""
    loaded = import_module(module)
    names = dict(vars(loaded))
    for node in ast.parse(Path(loaded.__file__ or "").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module:
                    source: ModuleType = import_module(line.module)
                    names |= {name.asname or name.name: getattr(source, name.name) for name in line.names}
    return names


@cache
def named(module: str, expression: str) -> Any:
    return eval(expression, names_in(module))  # an annotation in the SDK's own source


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields, or of parameters."""
    own: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base not in (StripeObject, dict, object):
            declared = dict(vars(base).get("__annotations__", {}))
            if is_typeddict(kind):
                declared = {name: hint for name, hint in declared.items() if name not in CALL_OPTIONS}
            bare = type("Bare", (), {"__annotations__": declared})
            own |= get_type_hints(bare, globalns=names_in(base.__module__), localns=dict(vars(base)))
    return {name: hint for name, hint in own.items() if get_origin(hint) is not ClassVar and name[0] != "_"}


@cache
def class_of(name: str, *, v2: bool = False) -> type[StripeObject] | None:
    """Return the class whose `object` is this."""
    known = {**OBJECT_CLASSES, **V2_OBJECT_CLASSES} if v2 else {**V2_OBJECT_CLASSES, **OBJECT_CLASSES}
    module, title = known.get(name, ("", ""))
    return getattr(import_module(module), title) if module else None


def class_for(value: Any, *, v2: bool = False) -> type[StripeObject] | None:
    """Return the class of an object, which for an event of API v2 depends on its type."""
    if not isinstance(value, dict):
        return None
    kind = class_of(str(value.get("object")), v2=v2)
    if kind is ThinEvent:
        found: type[StripeObject] = get_v2_event_class(str(value.get("type")))
        return found if issubclass(found, ThinEvent) else None
    return kind
