"""What a mutation takes away, found in the syntax tree, so that new layout, comments or names of locals don't matter.

A pattern is an expression in which a name that begins with an underscore stands for any expression, the same one where
it comes twice: `_a.filter(pk=_b)`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Place = tuple[ast.AST, str, int | None]  # a node, the field of it that holds another, and where in a list


class NotOnce(Exception):
    """What is to be taken away is not there, or is there more than once."""


@dataclass(frozen=True)
class Change:
    """One small change below a node; it raises NotOnce unless exactly one place fits."""

    says: str
    make: Callable[[ast.AST], int]  # changes what fits and returns how many places did

    def __call__(self, target: ast.AST) -> None:
        count = self.make(target)
        if count != 1:
            raise NotOnce(f"{self.says}: {count} places")


def swap(old: str, new: str) -> Change:
    """Put `new` in the place of the expression that the pattern `old` describes; it may name what `old` has bound."""
    pattern, substitute = ast.parse(old, mode="eval").body, ast.parse(new, mode="eval").body

    def make(target: ast.AST) -> int:
        found = [(place, bound) for place in places(target) if (bound := bindings(pattern, at(place))) is not None]
        for place, bound in found:
            put(place, Filled(bound).visit(copied(substitute)))
        return len(found)

    return Change(f"{old} -> {new}", make)


def without(keyword: str, *, of: str = "") -> Change:
    """Leave a keyword out of the one call that has it, or of the one such call of the function or method `of`."""

    def make(target: ast.AST) -> int:
        calls = [n for n in ast.walk(target) if isinstance(n, ast.Call) and (not of or last_name(n.func) == of)]
        found = [(call, given) for call in calls for given in call.keywords if given.arg == keyword]
        for call, given in found:
            call.keywords.remove(given)
        return len(found)

    return Change(f"without {keyword}=", make)


def drop(name: str) -> Change:
    """Leave out the one statement that is an expression and mentions this name or attribute."""

    def make(target: ast.AST) -> int:
        found = list(statements(target, name))
        for place in found:
            put(place, ast.Pass())
        return len(found)

    return Change(f"no {name}", make)


def before_its_transaction(name: str) -> Change:
    """Move the statement that mentions this name from the beginning of a `with` to before it."""

    def make(target: ast.AST) -> int:
        blocks = [place for place in places(target) if isinstance(at(place), ast.With)]
        found = [place for place in blocks if mentions(at(place).body[0], name)]
        for node, field, index in found:
            body = getattr(node, field)
            body.insert(index, body[index].body.pop(0))
        return len(found)

    return Change(f"{name} before its transaction", make)


def reword(old: str, new: str) -> Change:
    """Change a text within a string."""

    def make(target: ast.AST) -> int:
        texts = [n for n in ast.walk(target) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        found = [text for text in texts if old in str(text.value)]
        for text in found:
            text.value = str(text.value).replace(old, new)
        return len(found)

    return Change(f"{old!r} -> {new!r}", make)


# --- the tree -------------------------------------------------------------------------------------------------------


def mutated(root: Path, target: str, change: Change) -> tuple[Path, str, str]:
    """Return the file of `target` ("package.module:Class.method" or "package.module:NAME"), and its text before and
    after the change, both as Python writes a tree.
    """
    module, _, path = target.partition(":")
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise NotOnce(f"no module {module}")
    tree: ast.AST = ast.parse(file.read_text())
    before = ast.unparse(tree)
    change(named(tree, path))
    return file, before, ast.unparse(ast.fix_missing_locations(tree))


def named(tree: ast.AST, path: str) -> ast.AST:
    """Return the function, class or assignment of this name."""
    for name in path.split("."):
        found = [node for node in getattr(tree, "body", ()) if name in names(node)]
        if len(found) != 1:
            raise NotOnce(f"{path}: {len(found)} definitions of {name}")
        tree = found[0]
    return tree


def names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def places(target: ast.AST) -> Iterator[Place]:
    """Yield where each node below `target` stands."""
    for node in ast.walk(target):
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                yield node, field, None
            elif isinstance(value, list):
                yield from ((node, field, i) for i, item in enumerate(value) if isinstance(item, ast.AST))


def at(place: Place) -> Any:
    """Return the node at a place; of which kind it is, the caller finds out."""
    node, field, index = place
    value = getattr(node, field)
    return value if index is None else value[index]


def put(place: Place, new: ast.AST) -> None:
    node, field, index = place
    if index is None:
        setattr(node, field, new)
    else:
        getattr(node, field)[index] = new


def statements(target: ast.AST, name: str) -> Iterator[Place]:
    for place in places(target):
        if isinstance(at(place), ast.Expr) and mentions(at(place), name):
            yield place


def mentions(node: ast.AST, name: str) -> bool:
    return any(last_name(inner) == name for inner in ast.walk(node))


def last_name(node: ast.AST) -> str:
    """Return `c` for `a.b.c`."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


# --- patterns -------------------------------------------------------------------------------------------------------


def bindings(pattern: ast.AST, node: ast.AST) -> dict[str, ast.AST] | None:
    """Return what the pattern's own names stand for in `node`; None if it does not fit."""
    bound: dict[str, ast.AST] = {}
    return bound if fits(pattern, node, bound) else None


def fits(pattern: object, node: object, bound: dict[str, ast.AST]) -> bool:
    if isinstance(pattern, ast.Name) and pattern.id.startswith("_") and isinstance(node, ast.expr):
        return same(bound.setdefault(pattern.id, node), node)
    if isinstance(pattern, ast.expr_context):
        return True
    if isinstance(pattern, ast.AST):
        return type(pattern) is type(node) and all(
            fits(value, getattr(node, field), bound) for field, value in ast.iter_fields(pattern)
        )
    if isinstance(pattern, list):
        return (
            isinstance(node, list)
            and len(pattern) == len(node)
            and all(fits(one, other, bound) for one, other in zip(pattern, node, strict=True))
        )
    return pattern == node


class Filled(ast.NodeTransformer):
    """Puts what was bound in the place of a pattern's names."""

    def __init__(self, bound: dict[str, ast.AST]) -> None:
        self.bound = bound

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return copied(self.bound[node.id]) if node.id in self.bound else node


def same(one: ast.AST, other: ast.AST) -> bool:
    return ast.dump(one) == ast.dump(other)


def copied(expression: ast.AST) -> ast.AST:
    return ast.parse(ast.unparse(expression), mode="eval").body
