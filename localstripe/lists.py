"""Lists and what `expand` does. Source: https://docs.stripe.com/api/pagination, https://docs.stripe.com/expand"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from .errors import invalid
from .routing import Call
from .store import Obj, public

if TYPE_CHECKING:
    from .world import World

# Fields that an object shows only when they are asked for: (object type, field) -> what makes the value.
EXPANDERS: dict[tuple[str, str], Callable[["World", Obj], Any]] = {}


def in_range(moment: int, wanted: Any) -> bool:
    """Whether a time is within what `created` asked for: a number, or gt, gte, lt, lte of one."""
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return moment == wanted
    tests = {
        "gt": lambda limit: moment > limit,
        "gte": lambda limit: moment >= limit,
        "lt": lambda limit: moment < limit,
        "lte": lambda limit: moment <= limit,
    }
    return all(tests[name](limit) for name, limit in wanted.items())


def listed(objects: Iterable[Obj], url: str, *, has_more: bool = False) -> Obj:
    return {"object": "list", "data": list(objects), "has_more": has_more, "url": url}


def paged(call: Call, objects: Iterable[Obj], url: str | None = None) -> Obj:
    """Return one page of objects that come newest first, as limit, starting_after, ending_before and created say."""
    found = (obj for obj in objects if in_range(obj.get("created", 0), call.get("created")))
    limit = call.get("limit", 10)
    after, before = call.get("starting_after"), call.get("ending_before")
    if after is not None and before is not None:
        raise invalid("You can only specify one of these parameters: starting_after, ending_before.", "ending_before")
    if before is not None:
        newer = _until(found, before, "ending_before")
        return listed(newer[-limit:], url or call.path, has_more=len(newer) > limit)
    if after is not None:
        _until(found, after, "starting_after")
    page = list(islice(found, limit + 1))
    return listed(page[:limit], url or call.path, has_more=len(page) > limit)


def _until(found: Iterator[Obj], id: str, param: str) -> list[Obj]:
    """Take what comes before an object, and the object itself. Raise Stripe's error if it doesn't come."""
    passed: list[Obj] = []
    for obj in found:
        if obj["id"] == id:
            return passed
        passed.append(obj)
    raise invalid(f"No such object: '{id}'", param, "resource_missing")


def expanded(world: "World", obj: Obj, paths: Iterable[str]) -> Obj:
    """Return a public copy of an answer with the asked ids replaced by their objects."""
    found: Obj = public(obj)
    for path in paths:
        if path.count(".") >= 4 + path.startswith("data."):
            raise invalid(f"You cannot expand more than 4 levels of a property (tried to expand {path}).", "expand")
        _expand(world, found, path.split("."), path)
    return found


def _expand(world: "World", place: Any, parts: list[str], path: str) -> None:
    if isinstance(place, list):
        for one in place:
            _expand(world, one, parts, path)
        return
    if not isinstance(place, dict):
        return  # what is null expands to null
    name, rest = parts[0], parts[1:]
    make = EXPANDERS.get((place.get("object", ""), name))
    if make is not None and not isinstance(place.get(name), dict):
        source = world.store.find(place.get("id"))
        place[name] = public(make(world, source if source is not None else place))
    elif name not in place:
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    value = place[name]
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], str)):
        place[name] = value = _objects(world, value, path)
    elif not rest and name != "data" and value is not None and not isinstance(value, dict | list):
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    if rest:
        _expand(world, value, rest, path)


def _objects(world: "World", value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [_objects(world, one, path) for one in value]
    obj = world.store.find(value)
    if obj is None:
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    return public(obj)
