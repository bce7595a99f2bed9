import copy
from collections.abc import Iterator
from typing import Any

from .errors import no_such

Obj = dict[str, Any]  # as Stripe answers it; keys that begin with "_" stay here

# What Stripe calls an object in "No such …", where it isn't the type's own name.
NAMES = {"payment_method": "PaymentMethod", "checkout.session": "checkout.session"}


class Store:
    """All objects by type and id, in the order of their creation; use it under the world's lock."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Obj]] = {}
        self._by_id: dict[str, Obj] = {}
        self.versions: dict[str, list[tuple[float, Obj]]] = {}  # what a search may still find, by id

    def add(self, obj: Obj) -> Obj:
        self._kinds.setdefault(obj["object"], {})[obj["id"]] = obj
        self._by_id[obj["id"]] = obj
        return obj

    def remove(self, obj: Obj) -> None:
        del self._kinds[obj["object"]][obj["id"]]
        del self._by_id[obj["id"]]

    def find(self, id: Any) -> Obj | None:
        return self._by_id.get(id) if isinstance(id, str) else None

    def get(self, kind: str, id: str, param: str = "id") -> Obj:
        """Return an object. Raise Stripe's error if there is none: 400 if a parameter named it, else 404."""
        obj = self._kinds.get(kind, {}).get(id)
        if obj is None:
            raise no_such(NAMES.get(kind, kind), id, param)
        return obj

    def customer(self, id: str, param: str = "id") -> Obj:
        """Return a customer that was not deleted. Raise Stripe's error if there is none."""
        customer = self.get("customer", id, param)
        if customer.get("deleted"):
            raise no_such("customer", id, param)
        return customer

    def all(self, kind: str, **equal: Any) -> Iterator[Obj]:
        """Yield the objects of a type that were not deleted, newest first; a filter that is None filters nothing."""
        wanted = {name: value for name, value in equal.items() if value is not None}
        for obj in reversed(self._kinds.get(kind, {}).values()):
            if not obj.get("deleted") and all(obj.get(name) == value for name, value in wanted.items()):
                yield obj

    def index(self, obj: Obj, at: float) -> None:
        """Remember what a search may find of `obj` from `at` on."""
        self.versions.setdefault(obj["id"], []).append((at, copy.deepcopy(obj)))

    def dump(self) -> Obj:
        return {"objects": list(self._by_id.values()), "versions": self.versions}

    def load(self, kept: Obj) -> None:
        for obj in kept["objects"]:
            self.add(obj)
        self.versions = {id: [(at, obj) for at, obj in versions] for id, versions in kept["versions"].items()}

    def counts(self) -> dict[str, int]:
        return {kind: len(objects) for kind, objects in self._kinds.items()}


def public(value: Any) -> Any:
    """Return a copy without what is ours alone."""
    if isinstance(value, dict):
        return {name: public(part) for name, part in value.items() if not str(name).startswith("_")}
    if isinstance(value, list):
        return [public(part) for part in value]
    return value
