"""Adding and removing the rows of arrays in what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from casts.forms.fields import Blank, Field, Kind, Part, Path, Typed, control
from casts.forms.filling import ROWS, row
from casts.forms.reading import rows_of
from core.numbers import natural


def find(form: Field, where: str) -> tuple[Field, Path] | None:
    """Return the field at a control's name without its first letter, and its path; None if there is none."""
    one: Field = form
    path: Path = ()
    for step in where.split("/")[1:]:
        name = unquote(step)
        if one.kind == Kind.ARRAY and one.item is not None and (number := natural(name, digits=5)) is not None:
            one, path = one.item, (*path, number)
            continue
        inner = next((field for field in one.fields if field.name == name), None)
        if inner is None:
            return None
        one, path = inner, (*path, name)
    return one, path


def added(form: Field, typed: Mapping[str, str], where: str) -> tuple[Typed, Path] | None:
    """Return what is typed with one more row in the array, and the row's path; None if the form is full."""
    found = find(form, where)
    if found is None or found[0].item is None:
        return None
    (array, path), number = found, rows_of(typed, found[1])
    assert array.item is not None
    if len(typed) + 2 * array.item.size > 2 * ROWS:
        return None
    new = (*path, number)
    blank = {control(Part.BLANK, path): Blank.LEFT_OUT} if control(Part.BLANK, path) in typed else {}
    return {**typed, **blank, **row(array.item, new), control(Part.COUNT, path): str(number + 1)}, new


def removed(form: Field, typed: Mapping[str, str], where: str) -> Typed | None:
    """Return what is typed without the row at `where`; None if there is no such row."""
    above, _, last = where.rpartition("/")
    found, gone = find(form, above), natural(last, digits=5)
    if found is None or found[0].kind != Kind.ARRAY or gone is None:
        return None
    path = found[1]
    rows = rows_of(typed, path)
    if gone >= rows:
        return None
    left: Typed = {}
    for name, text in typed.items():
        begin = f"{name[:1]}{above}/"
        step, slash, rest = name.removeprefix(begin).partition("/")
        number = natural(step, digits=5) if name.startswith(begin) else None
        if number is None or number < gone:
            left[name] = text
        elif number > gone:
            left[f"{begin}{number - 1}{slash}{rest}"] = text
    return {**left, control(Part.COUNT, path): str(rows - 1)}
