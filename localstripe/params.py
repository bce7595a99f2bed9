"""Request parameters: Stripe's nested form encoding, and what a route takes.

A route names its parameters in a dict of kinds (`Text()`, `Int(least=1)`, `Hash({...})`); what it doesn't name is
refused as `parameter_unknown`, as Stripe does. Parsing changes nothing in the world: an error here is never kept under
an idempotency key. Source: https://docs.stripe.com/api/idempotent_requests
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from .errors import ApiError, invalid, missing, unknown

Raw = Any  # str, or a list or dict of Raw
DEEPEST = 10  # levels of nesting; none of Stripe's parameters has as many
_PART = re.compile(r"\[([^\]]*)\]")


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Raw]:
    """Return `a[b][0]=c` as {"a": {"b": ["c"]}}; a key that is a number, or empty, stands in a list."""
    root: dict[str, Raw] = {}
    for name, value in pairs:
        head, bracket, _ = name.partition("[")
        path = [head, *(_PART.findall(name[len(head) :])[:DEEPEST] if bracket else [])]
        place = root
        for part, following in zip(path, [*path[1:], None], strict=True):
            key = str(len(place)) if part == "" else part
            if following is None:
                place[key] = value
            else:
                if not isinstance(place.get(key), dict):
                    place[key] = {}
                place = place[key]
    return {name: _lists(value) for name, value in root.items()}


def _lists(raw: Raw) -> Raw:
    if not isinstance(raw, dict):
        return raw
    if raw and all(key.isdigit() for key in raw):
        return [_lists(raw[key]) for key in sorted(raw, key=int)]
    return {key: _lists(value) for key, value in raw.items()}


class Kind:
    """One parameter. `clear`: an empty string is allowed and gives None, which unsets a value."""

    def __init__(self, *, required: bool = False, clear: bool = False) -> None:
        self.required, self.clear = required, clear

    def parse(self, raw: Raw, path: str) -> Any:
        if raw == "":
            if self.clear:
                return None
            raise invalid(
                f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a parameter; "
                f"however '{path}' cannot be unset. You should remove '{path}' from your request or supply a "
                "non-empty value.",
                path,
                "parameter_invalid_empty",
            )
        return self.read(raw, path)

    def read(self, raw: Raw, path: str) -> Any:
        raise NotImplementedError


class Text(Kind):
    def __init__(self, *, most: int = 5000, pattern: str = "", **options: bool) -> None:
        super().__init__(**options)
        self.most, self.pattern = most, pattern

    def read(self, raw: Raw, path: str) -> str:
        if not isinstance(raw, str):
            raise invalid(f"Invalid string: {raw}", path, "parameter_invalid_string")
        if len(raw) > self.most:
            found = f"Invalid string: {raw[:4]}...{raw[-4:]}; must be at most {self.most} characters"
            raise invalid(found, path)
        if self.pattern and not re.fullmatch(self.pattern, raw):
            raise invalid(f"Invalid {path}: {raw}", path)
        return raw


class Url(Text):
    def read(self, raw: Raw, path: str) -> str:
        text = super().read(raw, path)
        if not re.match(r"https?://[^/\s]+", text):
            raise invalid("Not a valid URL", path, "url_invalid")
        return text


class Enum(Kind):
    def __init__(self, *values: str, **options: bool) -> None:
        super().__init__(**options)
        self.values = values

    def read(self, raw: Raw, path: str) -> str:
        if raw not in self.values:
            listed = self.values[0] if len(self.values) == 1 else ", ".join(self.values[:-1])
            last = f", or {self.values[-1]}" if len(self.values) > 2 else f" or {self.values[-1]}"
            tail = last if len(self.values) > 1 else ""
            raise invalid(f"Invalid {path}: must be one of {listed}{tail}", path)
        return str(raw)


class Int(Kind):
    def __init__(self, *, least: int | None = None, most: int | None = None, **options: bool) -> None:
        super().__init__(**options)
        self.least, self.most = least, most

    def read(self, raw: Raw, path: str) -> int:
        whole = raw if isinstance(raw, int) and not isinstance(raw, bool) else None
        if whole is None:
            if not isinstance(raw, str) or not re.fullmatch(r"-?\d{1,18}", raw):
                raise invalid(f"Invalid integer: {raw}", path, "parameter_invalid_integer")
            whole = int(raw)
        if self.least is not None and whole < self.least:
            text = f"This value must be greater than or equal to {self.least}."
            raise invalid(text, path, "parameter_invalid_integer")
        if self.most is not None and whole > self.most:
            raise invalid(f"This value must be less than or equal to {self.most}.", path, "parameter_invalid_integer")
        return whole


class Number(Kind):
    """A decimal number, which stays text: money is never a float."""

    def read(self, raw: Raw, path: str) -> str:
        try:
            Decimal(str(raw))
        except InvalidOperation:
            raise invalid(f"Invalid decimal: {raw}", path) from None
        return str(raw)


class Bool(Kind):
    def read(self, raw: Raw, path: str) -> bool:
        if raw in ("true", "True", "1", True):
            return True
        if raw in ("false", "False", "0", False):
            return False
        raise invalid(f"Invalid boolean: {raw}", path)


class Hash(Kind):
    """An object with known fields; fields that were not sent are left out of the result."""

    def __init__(self, fields: Mapping[str, Kind], **options: bool) -> None:
        super().__init__(**options)
        self.fields = fields

    def read(self, raw: Raw, path: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise invalid("Invalid object", path)
        return parse(raw, self.fields, path)


class List(Kind):
    def __init__(self, item: Kind, *, most: int = 100, **options: bool) -> None:
        super().__init__(**options)
        self.item, self.most = item, most

    def read(self, raw: Raw, path: str) -> list[Any]:
        if isinstance(raw, dict):
            raise invalid("Invalid array", path)
        found = raw if isinstance(raw, list) else [raw]
        if len(found) > self.most:
            raise invalid(f"You may only specify up to {self.most} items.", path)
        return [self.item.parse(one, f"{path}[{number}]") for number, one in enumerate(found)]


class OneOf(Kind):
    """The first kind that takes the value, such as a number or a range of numbers."""

    def __init__(self, *kinds: Kind, **options: bool) -> None:
        super().__init__(**options)
        self.kinds = kinds

    def read(self, raw: Raw, path: str) -> Any:
        problem: ApiError | None = None
        for kind in self.kinds:
            try:
                return kind.parse(raw, path)
            except ApiError as error:
                problem = problem or error
        assert problem is not None
        raise problem


class Metadata(Kind):
    """Up to 50 keys of 40 characters with values of 500; an empty value removes its key, an empty whole removes all."""

    def __init__(self, **options: bool) -> None:
        super().__init__(**{"clear": True, **options})

    def read(self, raw: Raw, path: str) -> dict[str, str]:
        if isinstance(raw, list):  # keys that are all numbers
            raw = {str(number): value for number, value in enumerate(raw)}
        if not isinstance(raw, dict):
            raise invalid("Invalid object", path)
        for key, value in raw.items():
            if not isinstance(value, str):
                raise invalid(f"Metadata values must be strings, but {path}[{key}] is not one.", f"{path}[{key}]")
            if len(key) > 40:
                raise invalid(f"Metadata keys can be up to 40 characters long, but you passed in {key[:40]}.", path)
            if len(value) > 500:
                text = f"Metadata values must have up to 500 characters, but you passed in a value that is {len(value)}"
                raise invalid(f"{text} characters. Invalid value: {value[:20]}...", f"{path}[{key}]")
        return dict(raw)


def merged_metadata(old: Mapping[str, str], given: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata after an update, where None (an empty string was sent) removes all."""
    if given is None:
        return {}
    found = {key: value for key, value in {**old, **given}.items() if value != ""}
    if len(found) > 50:
        raise invalid("You can only have up to 50 metadata keys.", "metadata")
    return found


def parse(raw: Mapping[str, Raw], fields: Mapping[str, Kind], within: str = "") -> dict[str, Any]:
    """Return the typed values of what was sent. Raise ApiError for what is unknown, missing or malformed."""

    def full(name: str) -> str:
        return f"{within}[{name}]" if within else name

    if strange := [full(name) for name in raw if name not in fields]:
        raise unknown(strange)
    for name, kind in fields.items():
        if kind.required and name not in raw:
            raise missing(full(name))
    return {name: fields[name].parse(value, full(name)) for name, value in raw.items()}


ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
RANGE = OneOf(Hash({name: Int() for name in ("gt", "gte", "lt", "lte")}), Int())
LISTED: dict[str, Kind] = {  # what every list takes
    "limit": Int(least=1, most=100),
    "starting_after": Text(),
    "ending_before": Text(),
}
CREATED: dict[str, Kind] = {"created": RANGE}
