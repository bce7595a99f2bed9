"""What GitHub checks before it starts a run, in its order and words."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .answers import ApiError
from .expressions import to_text
from .workflow import Workflow, called_error

MAX_TEXT = 65_535  # characters of compact JSON
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
DOCS = "/actions/workflows#create-a-workflow-dispatch-event"
EVENT_DOCS = "/repos/repos#create-a-repository-dispatch-event"


def check_keys(body: dict[str, Any], *, allowed: Iterable[str], required: Iterable[str], docs: str) -> None:
    problems = []
    unknown = [key for key in body if key not in allowed]
    if unknown:
        # The words are GitHub's, as everywhere here: clients show or match them.
        named = ", ".join(f'"{key}"' for key in unknown)
        problems.append(f"{named} is not a permitted key." if len(unknown) == 1 else f"{named} are not permitted keys.")
    problems += [f'"{key}" wasn\'t supplied.' for key in required if key not in body]
    if problems:
        raise ApiError(422, "Invalid request.\n\n" + "\n".join(problems), docs)


def check_type(body: dict[str, Any], key: str, kind: type, name: str, docs: str) -> None:
    if key in body and not isinstance(body[key], kind):
        shown = json.dumps(body[key])
        raise ApiError(422, f"Invalid request.\n\nFor 'properties/{key}', {shown} is not {name}.", docs)


def check_size(value: dict[str, Any], *, keys: int, what: str, docs: str) -> None:
    if len(value) > keys:
        raise ApiError(
            422, f"Invalid request.\n\nNo more than {keys} properties are allowed; {len(value)} were supplied.", docs
        )
    if len(json.dumps(value, separators=(",", ":"), ensure_ascii=False)) > MAX_TEXT:
        raise ApiError(422, f"{what} too large.", docs)


def checked_inputs(workflow: Workflow, given: dict[str, Any], environments: Sequence[str] = ()) -> dict[str, str]:
    """Return the inputs as the run's event has them, as text and with defaults filled in."""
    declared = workflow.inputs
    unexpected = [name for name in given if name not in declared]
    if unexpected:
        raise ApiError(422, f"Unexpected inputs provided: {json.dumps(unexpected)}", DOCS)
    inputs = {}
    for name, spec in declared.items():
        if name in given:
            inputs[name] = value = to_text(given[name])
            if spec.get("type") == "number" and value and not _NUMBER.fullmatch(value):
                raise ApiError(422, f"Provided value '{value}' for input '{name}' is not a number", DOCS)
            if (allowed := _allowed(spec, environments)) is not None and value not in allowed:
                raise ApiError(
                    422, f"Provided value '{value}' for input '{name}' not in the list of allowed values", DOCS
                )
        elif "default" in spec:
            inputs[name] = to_text(spec["default"])
        elif spec.get("required"):
            raise ApiError(422, f"Required input '{name}' not provided", DOCS)
        else:
            # An input that was not given: booleans are false, choices take their first option.
            options = [to_text(option) for option in spec.get("options") or []]
            inputs[name] = "false" if spec.get("type") == "boolean" else next(iter(options), "")
    return inputs


def _allowed(spec: dict[str, Any], environments: Sequence[str]) -> list[str] | None:
    if spec.get("type") == "boolean":
        return ["true", "false"]
    if spec.get("type") == "choice":
        return [to_text(option) for option in spec.get("options") or []]
    if spec.get("type") == "environment":
        return [*([] if spec.get("required") else [""]), *environments]
    return None


def check_workflow(workflow: Workflow, tree: Path, *, disabled: bool, most_inputs: int) -> None:
    """Refuse a workflow that is off, broken, calls a broken one, or is not made for this event."""
    if disabled:
        raise ApiError(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow", DOCS)
    error = workflow.error or called_error(workflow, tree)
    if not error and len(workflow.inputs) > most_inputs:
        error = f"you may only define up to {most_inputs} `inputs` for a `workflow_dispatch` event"
    if error:
        raise ApiError(422, f"Invalid Argument - failed to parse workflow: {error}", DOCS)
    if "workflow_dispatch" not in workflow.triggers:
        raise ApiError(422, "Workflow does not have 'workflow_dispatch' trigger", DOCS)
