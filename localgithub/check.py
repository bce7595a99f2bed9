"""What GitHub finds wrong with a workflow file before anything runs, with the place of each mistake."""

import re
from collections.abc import Iterator
from typing import Any

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from .expressions import expression_problem, problem

_ID = re.compile(r"[A-Za-z_][\w-]{0,99}$", re.ASCII)
_USES = re.compile(r"(\./.+|docker://.+|[\w.-]+/[\w.-]+(/[^@]+)?@\S+)$")
_CALL = re.compile(r"(\./\.github/workflows/[^/@]+\.ya?ml|[\w.-]+/[\w.-]+/\.github/workflows/[^/@]+\.ya?ml@\S+)$")
_MAPPINGS = ("env", "defaults", "outputs", "strategy", "with", "permissions")
_SHARED = {"name", "env", "defaults", "concurrency", "permissions"}
_TOP = _SHARED | {"on", "run-name", "jobs"}
_JOB = _SHARED | {
    *("needs", "if", "runs-on", "environment", "outputs", "timeout-minutes", "strategy", "continue-on-error"),
    *("container", "services", "steps", "uses", "with", "secrets", "snapshot"),
}
_STEP = {
    *("id", "if", "name", "uses", "run", "working-directory", "shell", "with", "env", "continue-on-error"),
    "timeout-minutes",
}
_CALLED = {"name", "uses", "with", "secrets", "needs", "if", "permissions", "strategy", "concurrency"}


class Problem(Exception):
    """One mistake; the text begins with its place."""

    def __init__(self, node: Node, text: str) -> None:
        super().__init__(f"(Line: {node.start_mark.line + 1}, Col: {node.start_mark.column + 1}): {text}")


def check(root: Node | None) -> list[str]:
    """Return every mistake of a file, none if GitHub would take it."""
    found: list[str] = []

    def note(steps: Iterator[Problem]) -> None:
        found.extend(str(one) for one in steps)

    if not isinstance(root, MappingNode):
        return ["(Line: 1, Col: 1): A mapping was expected"]
    note(_duplicates(root))
    note(_expressions(root))
    if not found:
        # Not after such mistakes: further findings would only follow from them.
        note(_workflow(root))
    return found


def _workflow(root: MappingNode) -> Iterator[Problem]:
    yield from _keys(root, _TOP)
    parts = _parts(root)
    for name in ("on", "jobs"):
        if name not in parts:
            yield Problem(root, f"Required property is missing: {name}")
    yield from _shapes(parts)
    if "on" in parts:
        yield from _events(parts["on"])
    jobs = parts.get("jobs")
    if jobs is None:
        return
    if not isinstance(jobs, MappingNode):
        yield _unexpected(jobs)
        return
    known = _parts(jobs)
    if not known:
        yield Problem(jobs, "The workflow must contain at least one job with no dependencies.")
    for key, _ in jobs.value:
        if not _ID.match(key.value):
            yield Problem(
                key,
                f"The identifier '{key.value}' is invalid. IDs may only contain alphanumeric characters, '_', and '-'. "
                "IDs must start with a letter or '_' and must be less than 100 characters.",
            )
    for name, job in known.items():
        yield from _job(name, job)
    yield from _needs(jobs, known)


def _job(name: str, job: Node) -> Iterator[Problem]:
    if not isinstance(job, MappingNode):
        yield _unexpected(job)
        return
    parts = _parts(job)
    yield from _shapes(parts)
    if "uses" in parts and "steps" not in parts:
        yield from _keys(job, _CALLED)
        if not _CALL.match(str(parts["uses"].value)):
            yield Problem(
                parts["uses"],
                "invalid value workflow reference: references to workflows must be prefixed with format "
                "'owner/repository/' or './', be rooted directly in '.github/workflows', and name a version unless "
                "they begin with './'",
            )
        return
    yield from _keys(job, _JOB)
    if "runs-on" not in parts:
        yield Problem(job, "Required property is missing: runs-on")
    else:
        yield from _labels(parts["runs-on"])
    if "if" in parts:
        yield from _condition(parts["if"])
    steps = parts.get("steps")
    if steps is None:
        yield Problem(
            job, f"No steps defined in `steps` and no workflow called in `uses` for the following jobs: {name}"
        )
    elif not isinstance(steps, SequenceNode):
        yield _unexpected(steps)
    else:
        yield from _steps(steps)


def _labels(node: Node) -> Iterator[Problem]:
    """Find a `runs-on` without a label; one that an expression gives is looked at when the job would begin."""
    if isinstance(node, MappingNode):
        if "labels" in (parts := _parts(node)):
            yield from _labels(parts["labels"])
        return
    labels = node.value if isinstance(node, SequenceNode) else [node]
    if not labels:
        yield Problem(node, "The sequence must contain at least one value.")
    for label in labels:
        if not isinstance(label, ScalarNode) or not label.value.strip():
            yield _unexpected(label)


def _steps(steps: SequenceNode) -> Iterator[Problem]:
    seen: set[str] = set()
    for step in steps.value:
        if not isinstance(step, MappingNode):
            yield _unexpected(step)
            continue
        yield from _keys(step, _STEP)
        parts = _parts(step)
        if "run" in parts and "uses" in parts:
            yield Problem(step, "a step cannot have both the `uses` and `run` keys")
        if "run" not in parts and "uses" not in parts:
            yield Problem(step, "every step must define a `uses` or `run` key")
        if "uses" in parts and not _USES.match(str(parts["uses"].value)):
            yield Problem(parts["uses"], f"Expected format {{org}}/{{repo}}[/path]@ref. Actual '{parts['uses'].value}'")
        if "if" in parts:
            yield from _condition(parts["if"])
        yield from _shapes(parts)
        if "id" in parts:
            name = str(parts["id"].value)
            if name.lower() in seen:
                yield Problem(
                    parts["id"], f"The identifier '{name}' may not be used more than once within the same scope."
                )
            seen.add(name.lower())


def _events(on: Node) -> Iterator[Problem]:
    """Check what starts a workflow: an event, several, or events with what they take."""
    if isinstance(on, SequenceNode):
        yield from (_unexpected(one) for one in on.value if not isinstance(one, ScalarNode))
    events = _parts(on) if isinstance(on, MappingNode) else {}
    for name in ("workflow_dispatch", "workflow_call", "repository_dispatch"):
        event = events.get(name)
        if event is None or _is_null(event):
            continue
        if not isinstance(event, MappingNode):
            yield _unexpected(event)
            continue
        inputs = _parts(event).get("inputs")
        if inputs is None or _is_null(inputs):
            continue
        if not isinstance(inputs, MappingNode):
            yield _unexpected(inputs)
            continue
        for one in _parts(inputs).values():
            if not isinstance(one, MappingNode) and not _is_null(one):
                yield _unexpected(one)
                continue
            options = _parts(one).get("options") if isinstance(one, MappingNode) else None
            if options is not None and not isinstance(options, SequenceNode):
                yield _unexpected(options)


def _shapes(parts: dict[str, Node]) -> Iterator[Problem]:
    """Find what is a mapping elsewhere and a text or a list here, and the other way round."""
    for name in _MAPPINGS:
        node = parts.get(name)
        whole = name in ("permissions", "env") and isinstance(node, ScalarNode)  # `read-all`, or an expression
        if node is not None and not isinstance(node, MappingNode) and not whole and not _is_null(node):
            yield _unexpected(node)
    strategy = parts.get("strategy")
    matrix = _parts(strategy).get("matrix") if isinstance(strategy, MappingNode) else None
    if isinstance(matrix, SequenceNode) or (
        isinstance(matrix, ScalarNode) and not _is_null(matrix) and "${{" not in matrix.value
    ):
        yield _unexpected(matrix)
    if isinstance(parts.get("concurrency"), SequenceNode):
        yield _unexpected(parts["concurrency"])
    for name in ("name", "run-name", "if", "uses", "run", "id", "shell", "working-directory", "timeout-minutes"):
        node = parts.get(name)
        if node is not None and not isinstance(node, ScalarNode):
            yield _unexpected(node)


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag.endswith(":null")


def _needs(jobs: MappingNode, known: dict[str, Node]) -> Iterator[Problem]:
    waits: dict[str, set[str]] = {}
    broken = False
    for key, job in jobs.value:
        needs = _parts(job).get("needs") if isinstance(job, MappingNode) else None
        given = needs.value if isinstance(needs, SequenceNode) else [needs] if needs else []
        named = [one for one in given if isinstance(one, ScalarNode) and not _is_null(one)]
        yield from (_unexpected(one) for one in given if not isinstance(one, ScalarNode))
        waits[key.value] = {one.value for one in named}
        for one in named:
            if one.value not in known:
                broken = True
                yield Problem(one, f"Job '{key.value}' depends on unknown job '{one.value}'.")
    # Remove jobs that wait for no other, repeatedly; what remains waits in a cycle.
    while not broken and waits:
        free = [name for name, needed in waits.items() if not needed & waits.keys()]
        if free:
            for name in free:
                del waits[name]
            continue
        if len(waits) == len(known):
            yield Problem(jobs, "The workflow must contain at least one job with no dependencies.")
        else:
            name = next(iter(waits))
            other = sorted(waits[name] & waits.keys())[0]
            place = next(key for key, _ in jobs.value if key.value == name)
            yield Problem(
                place, f"Job '{name}' depends on job '{other}' which creates a cycle in the dependency graph."
            )
        return


def _condition(node: Node) -> Iterator[Problem]:
    """Check an `if`, which is an expression also without ${{ }}."""
    if isinstance(node, ScalarNode) and "${{" not in node.value and (said := expression_problem(node.value.strip())):
        yield Problem(node, said)


def _expressions(node: Node) -> Iterator[Problem]:
    if isinstance(node, ScalarNode):
        if "${{" in node.value and (said := problem(node.value)):
            yield Problem(node, said)
    else:
        for part in node.value:
            for child in part if isinstance(part, tuple) else [part]:
                yield from _expressions(child)


def _duplicates(node: Node) -> Iterator[Problem]:
    if isinstance(node, MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen and key.value != "<<":
                yield Problem(key, f"'{key.value}' is already defined")
            seen.add(key.value)
            yield from _duplicates(value)
    elif isinstance(node, SequenceNode):
        for child in node.value:
            yield from _duplicates(child)


def _keys(node: MappingNode, allowed: set[str]) -> Iterator[Problem]:
    for key, _ in node.value:
        if key.value not in allowed and key.value != "<<":
            yield Problem(key, f"Unexpected value '{key.value}'")


def _parts(node: MappingNode) -> dict[str, Node]:
    parts: dict[str, Any] = {}
    for key, value in node.value:
        if key.value == "<<" and isinstance(value, MappingNode):
            # `<<: *anchor` merges a mapping; the mapping's own keys win.
            parts = _parts(value) | parts
        else:
            parts[key.value] = value
    return parts


def _unexpected(node: Node) -> Problem:
    if isinstance(node, ScalarNode):
        return Problem(node, f"Unexpected value '{node.value}'")
    return Problem(node, f"A {'sequence' if isinstance(node, SequenceNode) else 'mapping'} was not expected")
