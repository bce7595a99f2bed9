"""What a workflow file says about itself: its triggers, inputs, title and concurrency. No network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from casts.models import Spell
from github_integration.workflow_files import core_yaml
from github_integration.workflow_files.core_yaml import BadYaml, written

JSON = Any
Scalar = str | bool | int | float
ENVELOPE = ("cast_id", "spell_key", "input_data")  # the inputs of a workflow that takes its input as JSON text
CAST_ID, TRACEPARENT = "cast_id", "traceparent"
MOST_INPUTS = 25  # that GitHub takes of a file
TYPES = ("string", "boolean", "number", "choice", "environment")
HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
# What differs from run to run, whatever else an expression says.
OF_THE_CAST = {
    Spell.Runtime.WORKFLOW_DISPATCH: re.compile(r"\binputs\.cast_id\b", re.IGNORECASE),
    Spell.Runtime.REPOSITORY_DISPATCH: re.compile(r"\bclient_payload\.cast_id\b", re.IGNORECASE),
}
RUN_ID = re.compile(r"\bgithub\.run_(id|number)\b", re.IGNORECASE)


class Unreadable(Exception):
    """The file is no workflow; the text says where."""


@dataclass(frozen=True)
class Input:
    """One of a workflow's inputs, as `on.workflow_dispatch.inputs` declares it."""

    name: str
    type: str  # "string" where the file names none; one that GitHub does not know as it is written
    required: bool
    default: Scalar | None  # as YAML has it: text, a number, true or false
    options: tuple[str, ...]
    description: str
    deprecation: str


@dataclass(frozen=True)
class SharedGroup:
    """A concurrency group that all casts of a workflow can have in common."""

    where: str  # "the workflow", or a job
    group: str
    cancels: bool  # the run that is under way, not the one that waits


@dataclass(frozen=True)
class WorkflowFile:
    name: str  # of the file, such as deploy.yml
    title: str  # its `name:`
    comment: str  # what stands above the first line that counts
    triggers: dict[str, JSON]
    inputs: tuple[Input, ...]  # of workflow_dispatch
    run_name: str
    concurrency: tuple[tuple[str, JSON], ...]  # (where, what is written there), of the workflow and of its jobs
    jobs: dict[str, dict[str, JSON]]

    @property
    def dispatchable(self) -> bool:
        return "workflow_dispatch" in self.triggers

    def takes(self, event_type: str) -> bool:
        if "repository_dispatch" not in self.triggers:
            return False
        types = mapping(self.triggers["repository_dispatch"]).get("types")
        return not types or event_type in (types if isinstance(types, list) else [types])

    def tag(self, runtime: Spell.Runtime) -> bool | None:
        """Return whether the titles of its runs carry `[cast:<id>]`; None if they name the id in some other way."""
        cast_id = OF_THE_CAST[runtime]
        holes = re.findall(r"\[cast:\$\{\{(.*?)\}\}\]", self.run_name, re.DOTALL)
        if any(cast_id.search(dotted(hole)) for hole in holes):
            return True
        named = any(cast_id.search(dotted(hole)) for hole in HOLE.findall(self.run_name))
        return None if named and "cast" in self.run_name else False

    def shared_groups(self, runtime: Spell.Runtime) -> list[SharedGroup]:
        """Return the concurrency groups in which casts get in each other's way."""
        shared = []
        for where, what in self.concurrency:
            group = text(mapping(what).get("group")) if isinstance(what, dict) else text(what)
            holes = [dotted(hole) for hole in HOLE.findall(group)]
            own = any(OF_THE_CAST[runtime].search(hole) or RUN_ID.search(hole) for hole in holes)
            if own or mapping(what).get("queue") == "max":
                continue
            cancels = mapping(what).get("cancel-in-progress") not in (None, False)
            shared.append(SharedGroup(where, group, cancels))
        return shared


def read(name: str, content: str) -> WorkflowFile:
    """Return what a file says. Raise Unreadable."""
    try:
        data = core_yaml.load(content)
    except BadYaml as exc:
        where = f" in line {exc.line}" if exc.line else ""
        raise Unreadable(f"{name} is no valid YAML{where}: {exc}") from exc
    if not isinstance(data, dict):
        raise Unreadable(f"{name} is no workflow")
    on = data.get("on")
    if isinstance(on, str | list):
        on = dict.fromkeys([on] if isinstance(on, str) else [event for event in on if isinstance(event, str)])
    jobs = [(key, job) for key, job in mapping(data.get("jobs")).items() if isinstance(job, dict)]
    groups = [("the workflow", data.get("concurrency"))]
    groups += [(f"job {key}", job.get("concurrency")) for key, job in jobs]
    triggers = dict(mapping(on))
    return WorkflowFile(
        name=name,
        title=written(data.get("name")) or "",
        comment=_comment(content),
        triggers=triggers,
        inputs=tuple(_inputs(mapping(triggers.get("workflow_dispatch")).get("inputs"))),
        run_name=text(data.get("run-name")),
        concurrency=tuple((where, what) for where, what in groups if what),
        jobs=dict(jobs),
    )


def _inputs(declared: JSON) -> list[Input]:
    inputs = []
    for name, spec in mapping(declared).items():
        said = mapping(spec)
        default = said.get("default")
        inputs.append(
            Input(
                name=name,
                type=written(said.get("type")) or "string",
                required=said.get("required") is True,
                default=None if isinstance(default, dict | list) else default,
                options=tuple(option for one in _list(said.get("options")) if (option := written(one)) is not None),
                description=written(said.get("description")) or "",
                deprecation=written(said.get("deprecationMessage")) or "",
            )
        )
    return inputs


def _comment(content: str) -> str:
    """Return the comment that a file begins with, without its marks."""
    lines = []
    for line in content.removeprefix("\ufeff").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def mapping(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}


def _list(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def dotted(expression: str) -> str:
    """Return an expression with `a['b']` written as `a.b`."""
    return re.sub(r"\[\s*'([\w-]+)'\s*\]", r".\1", expression)
