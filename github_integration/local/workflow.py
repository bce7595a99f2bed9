import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .expressions import interpolate

DIRECTORY = ".github/workflows"
MAX_INPUTS = 25


class WorkflowError(Exception):
    """The file is no workflow; the text is what GitHub would say."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as GitHub reads it: `on` is a word, a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"]
)


@dataclass(frozen=True)
class Step:
    """One step of a job as written."""

    name: str
    body: dict[str, Any]


@dataclass(frozen=True)
class JobPlan:
    """One job as written."""

    key: str
    name: str
    labels: list[str]
    steps: list[Step]
    waits: bool  # has `needs` or a matrix, so GitHub makes the job later


@dataclass
class Workflow:
    """One workflow file of a working tree, as it is now."""

    repository: str
    path: str
    text: str
    name: str = ""
    triggers: dict[str, dict[str, Any]] = field(default_factory=dict)
    run_name: str = ""
    jobs: list[JobPlan] = field(default_factory=list)
    error: str = ""

    @property
    def id(self) -> int:
        """A number that stays the same as long as the path does."""
        return 100_000_000 + zlib.crc32(f"{self.repository}/{self.path}".encode()) % 900_000_000

    @property
    def file(self) -> str:
        """The file's name, which GitHub takes in place of the id."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """The declared inputs of workflow_dispatch."""
        declared = self.triggers.get("workflow_dispatch", {}).get("inputs") or {}
        return {str(name): spec or {} for name, spec in declared.items()}

    @property
    def needs_tree(self) -> bool:
        """Whether a run reads files of the repository."""
        return "actions/checkout" in self.text or "uses: ./" in self.text

    def title(self, event: str, payload: dict[str, Any]) -> str:
        """Return the display title of a run that this event starts."""
        context = {"github": {"event": payload, "event_name": event}, "inputs": payload.get("inputs") or {}}
        named = interpolate(self.run_name, context).strip()
        return named or (payload.get("action") if event == "repository_dispatch" else "") or self.name

    def takes_event_type(self, event_type: str) -> bool:
        """Whether a repository_dispatch of this type starts a run."""
        if "repository_dispatch" not in self.triggers:
            return False
        types = self.triggers["repository_dispatch"].get("types")
        return not types or event_type in ([types] if isinstance(types, str) else types)


def load_all(repository: str, tree: Path) -> list[Workflow]:
    """Read every workflow of a working tree, broken ones too, in the order of their names."""
    files = sorted(p for p in (tree / DIRECTORY).glob("*") if p.suffix in (".yml", ".yaml") and p.is_file())
    return [load(repository, f"{DIRECTORY}/{p.name}", p.read_text(encoding="utf-8")) for p in files]


def load(repository: str, path: str, text: str) -> Workflow:
    """Read one workflow; a broken one gets its path as name, as on GitHub, and `error`."""
    workflow = Workflow(repository, path, text, name=path)
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 a SafeLoader
        if not isinstance(data, dict):
            raise WorkflowError("(Line: 1, Col: 1): A mapping was not expected")
        workflow.name = str(data.get("name") or path)
        workflow.run_name = str(data.get("run-name") or "")
        workflow.triggers = _triggers(data.get("on"))
        workflow.jobs = _jobs(data.get("jobs"))
        if len(workflow.inputs) > MAX_INPUTS:
            raise WorkflowError("you may only define up to 25 `inputs` for a `workflow_dispatch` event")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"(Line: {mark.line + 1}, Col: {mark.column + 1}): " if mark else ""
        workflow.error = where + str(getattr(error, "problem", error))
    except WorkflowError as error:
        workflow.error = str(error)
    return workflow


def _triggers(on: Any) -> dict[str, dict[str, Any]]:
    if isinstance(on, str):
        return {on: {}}
    if isinstance(on, list):
        return {str(event): {} for event in on}
    if isinstance(on, dict):
        return {str(event): spec if isinstance(spec, dict) else {} for event, spec in on.items()}
    raise WorkflowError("(Line: 1, Col: 1): Required property is missing: on")


def _jobs(jobs: Any) -> list[JobPlan]:
    if not isinstance(jobs, dict) or not jobs:
        raise WorkflowError("(Line: 1, Col: 1): Required property is missing: jobs")
    plans = []
    for key, job in jobs.items():
        if not isinstance(job, dict) or not ({"runs-on", "uses"} & job.keys()):
            raise WorkflowError(f"Job '{key}': Required property is missing: runs-on")
        labels = job.get("runs-on", [])
        waits = bool(job.get("needs")) or "matrix" in (job.get("strategy") or {})
        steps = [_step(step) for step in job.get("steps") or []]
        plans.append(
            JobPlan(
                key, str(job.get("name") or key), [labels] if isinstance(labels, str) else list(labels), steps, waits
            )
        )
    return plans


def _step(body: Any) -> Step:
    if not isinstance(body, dict) or not ({"run", "uses"} & body.keys()):
        raise WorkflowError("every step must define a `uses` or `run` key")
    # GitHub's own fallback: "Run" and the action, or the first line of the script.
    first_line = str(body.get("uses") or body.get("run", "")).strip().split("\n")[0]
    return Step(str(body.get("name") or f"Run {first_line}"), body)
