"""Is this an answer that Stripe could give, is that a request which it takes? Each check yields what is wrong.

Stricter than the types where they leave room for what Stripe may add later: a word outside an enumeration, and a
field that the SDK doesn't know, are wrong, for nothing that is judged here is newer than the SDK.
"""

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from types import GenericAlias, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl

from stripe._error_object import ErrorObject
from stripe._list_object import ListObject
from stripe._search_result_object import SearchResultObject
from stripe._stripe_object import StripeObject, UntypedStripeObject
from stripe.v2._list_object import ListObject as V2ListObject
from stripe.v2.core._event import Event as ThinEvent
from typing_extensions import is_typeddict

from . import schema

Problems = Iterator[str]
# What is refused as a bad request is the sender's fault, which is what a test of refusals sends.
REFUSED = (400, 401, 404, 413)
NUMBER = re.compile(r"-?\d+(\.\d{1,12})?")


class Checker:
    """Walks a value beside its type."""

    def __init__(self, *, form: bool = False, partial: bool = False, v2: bool = False) -> None:
        self.form = form  # everything is a string or made of strings
        self.partial = partial  # what is missing is no problem
        self.v2 = v2

    def check(self, value: Any, hint: Any, where: str, encoding: str = "") -> Problems:
        origin: Any = get_origin(hint)
        args = get_args(hint)
        if hint is Any or hint is object:
            return
        if origin in (Union, UnionType):
            yield from self._union(value, args, where, encoding)
        elif origin is Literal:
            if self._plain(value) not in args:
                yield f"{where}: {value!r} is none of {_listed(args)}"
        elif origin is list:
            yield from self._list(value, args[0], where)
        elif origin in (dict, UntypedStripeObject):
            yield from self._mapping(value, args[-1], where)
        elif origin in (ListObject, V2ListObject, SearchResultObject):
            yield from self._fields(value, origin, where, {"data": GenericAlias(list, args)})
        elif is_typeddict(hint):
            yield from self._params(value, hint, where)
        elif isinstance(hint, type) and issubclass(hint, StripeObject):
            yield from self._fields(value, schema.class_for(value, v2=True) if hint is ThinEvent else hint, where)
        else:
            yield from self._scalar(value, hint, where, encoding)

    def _plain(self, value: Any) -> Any:
        return {"true": True, "false": False}.get(value, value) if self.form and isinstance(value, str) else value

    def _union(self, value: Any, args: tuple[Any, ...], where: str, encoding: str) -> Problems:
        if value is None and NoneType in args:
            return
        words = {word for arg in args if get_origin(arg) is Literal for word in get_args(arg)}
        # Literal["a", "b"] | str is a list that may grow; Literal[""] | str only says that "" clears the field.
        others = [arg for arg in args if arg is not NoneType and not (arg is str and words - {""})]
        if len(others) == 1:
            yield from self.check(value, others[0], where, encoding)
            return
        if isinstance(value, dict) and (same := [arg for arg in others if _object_name(arg) == value.get("object", 0)]):
            others = same
        tried = [list(self.check(value, arg, where, encoding)) for arg in others]
        if all(tried):
            yield from min(tried, key=lambda found: (not found[0].startswith(f"{where}."), len(found)))

    def _list(self, value: Any, item: Any, where: str) -> Problems:
        if self.form and isinstance(value, dict) and all(key.isdigit() for key in value):
            value = list(value.values())
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for number, each in enumerate(value):
            yield from self.check(each, item, f"{where}[{number}]")

    def _mapping(self, value: Any, item: Any, where: str) -> Problems:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
            return
        for name, each in value.items():
            if not (self.partial and each is None):  # what was not there before
                yield from self.check(each, item, f"{where}.{name}")

    def _params(self, value: Any, kind: Any, where: str) -> Problems:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
            return
        hints = {name: hint for name, hint in schema.hints_of(kind).items() if name not in schema.CALL_OPTIONS}
        for name in value.keys() - hints.keys():
            yield f"{where}.{name}: no such parameter"
        for name in (kind.__required_keys__ & hints.keys()) - value.keys():
            yield f"{where}.{name}: required"
        for name in value.keys() & hints.keys():
            yield from self.check(value[name], hints[name], f"{where}.{name}")

    def _fields(self, value: Any, kind: Any, where: str, known: dict[str, Any] | None = None) -> Problems:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
            return
        if kind is None:
            yield f"{where}: no thin event is of type {value.get('type')!r}"
            return
        hints = schema.hints_of(kind) | (known or {})
        if kind is SearchResultObject:
            hints |= {"url": str, "next_page": str | None}  # which this one class, written by hand, leaves out
        if name := getattr(kind, "OBJECT_NAME", ""):
            hints["object"] = Literal[name]
        gone = value.get("deleted") is True  # little more than the id is left of it
        encodings = getattr(kind, "_field_encodings", {})
        for name in value.keys() - hints.keys():
            yield f"{where}.{name}: no such field"
        for name, hint in hints.items():
            if name in value:
                yield from self.check(value[name], hint, f"{where}.{name}", encodings.get(name, ""))
            elif not (
                self.partial or gone or NoneType in get_args(hint) or (kind is V2ListObject and name == "object")
            ):
                yield f"{where}.{name}: missing"

    def _scalar(self, value: Any, hint: Any, where: str, encoding: str) -> Problems:
        if self.form and isinstance(value, str):
            fits = {
                str: True,
                int: re.fullmatch(r"-?\d+", value) is not None,
                bool: value in ("true", "false"),
                float: NUMBER.fullmatch(value) is not None,
                Decimal: NUMBER.fullmatch(value) is not None,
            }.get(hint, False)
        elif hint is Decimal or encoding:
            fits = isinstance(value, str) and NUMBER.fullmatch(value) is not None
        else:
            wanted = (int, float) if hint is float else hint
            fits = isinstance(value, wanted) and (hint is bool or not isinstance(value, bool))
        if not fits:
            yield f"{where}: {value!r} is no {'decimal string' if encoding else hint.__name__}"


def _object_name(hint: Any) -> Any:
    return getattr(hint, "OBJECT_NAME", None)


def _listed(words: tuple[Any, ...]) -> str:
    return ", ".join(map(repr, words[:12])) + (", …" if len(words) > 12 else "")


def answer(value: Any, *, v2: bool = False) -> Problems:
    """Check a resource, a list or an error by what it says it is."""
    if not isinstance(value, dict):
        yield f"{value!r} is no object"
    elif "error" in value and "object" not in value:
        yield from error(value["error"])
    elif (kind := _class_for(value, v2=v2)) is None:
        yield f"nothing that Stripe has is a {value.get('object')!r} of type {value.get('type')!r}"
    elif kind in (ListObject, V2ListObject, SearchResultObject):
        yield from Checker(v2=v2)._fields(value, kind, "list", {"data": list[Any]})
        for number, each in enumerate(value.get("data", [])):
            yield from (f"list.data[{number}]: {problem}" for problem in answer(each, v2=v2))
    else:
        yield from Checker(v2=v2).check(value, kind, str(value["object"]))
        if kind is schema.class_of("event"):
            yield from _event(value)


def _class_for(value: dict[str, Any], *, v2: bool) -> type[StripeObject] | None:
    if v2 and "object" not in value and "data" in value:
        return V2ListObject  # lists of API v2 don't say that they are lists
    return schema.class_for(value, v2=v2)


def _event(value: dict[str, Any]) -> Problems:
    data = value.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    if not isinstance(data, dict) or about is None:
        return  # which has been said already
    yield from (f"event.data: {problem}" for problem in answer(about))
    if (kind := schema.class_for(about)) is not None:
        before = data.get("previous_attributes")
        yield from Checker(partial=True).check(before or {}, kind, "event.data.previous_attributes")


def error(value: Any) -> Problems:
    yield from Checker(partial=True).check(value, ErrorObject, "error")
    if isinstance(value, dict) and not (value.get("type") and value.get("message")):
        yield "error: without type or message"


def request(method: str, path: str, params: Any, *, form: bool) -> Problems:
    """Check parameters, decoded; those of a form are strings, and its lists may be objects with numbers for names."""
    called = schema.operation(method, path)
    if called is None:
        yield f"no call of Stripe's goes to {method} {path}"
    elif called.params is not None:
        yield from Checker(form=form).check(params, called.params, "params")
    elif params:
        yield f"{method} {path} takes no parameters, but {sorted(params)} came"


def recorded(entries: Iterable[dict[str, Any]]) -> Problems:
    """Check the requests of a stand-in's record, but for those that it refused as bad."""
    for one in entries:
        if one["status"] not in REFUSED:
            json_sent = one["path"].startswith("/v2/") and one["method"] == "POST"
            params = {name: value for name, value in one["params"].items() if json_sent or name != "page"}
            found = request(one["method"], one["path"], params, form=not json_sent)
            yield from (f"{one['method']} {one['path']}: {problem}" for problem in found)


def exchange(method: str, target: str, body: bytes, status: int, given: bytes, *, refused: bool = False) -> Problems:
    """Check one request and its answer, as they went over the wire; `target` is the path with its query.

    `refused`: the answer says that the request was wrong, so that only the answer is checked.
    """
    path, _, query = target.partition("?")
    v2 = path.startswith("/v2/")
    if not refused:
        json_sent = v2 and method == "POST"
        params = json.loads(body or "{}") if json_sent else form_of(body.decode() or query)
        if v2 and method == "GET":
            params.pop("page", None)  # of the address of the next page, which callers follow as it is
        yield from request(method, path, params, form=not json_sent)
    content = json.loads(given)
    if not (v2 and method == "DELETE" and status < 400):  # which API v2 answers with little more than the id
        yield from answer(content, v2=v2)
    called = schema.operation(method, path)
    if status < 400 and called is not None and called.answer is not StripeObject:
        yield from Checker(v2=v2).check(content, called.answer, "answer")


def notification(value: dict[str, Any]) -> Problems:
    """Check what a destination for thin events gets: an event of API v2 without its `data`, which is fetched."""
    kind = schema.class_for(value, v2=True)
    if kind is None:
        yield f"no thin event is of type {value.get('type')!r}"
        return
    if "data" in value:
        yield "a thin event brings no data"
    yield from (one for one in answer(value, v2=True) if not one.endswith(".data: missing"))


def form_of(encoded: str) -> dict[str, Any]:
    """Decode `a[b]=1&c[0]=2&c[1]=3` into {"a": {"b": "1"}, "c": {"0": "2", "1": "3"}}; `c[]=2` is numbered too."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        first, *inner = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        place, last = found, first
        for key in inner:
            place = place.setdefault(last, {})
            last = key or str(len(place))
        place[last] = value
    return found
