import functools
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .check import check
from .expressions import interpolate

DIRECTORY = ".github/workflows"
_USES_TREE = re.compile(r"""\buses['"]?\s*:\s*['"]?\./""")
_FOLDER = re.compile(r"/?(?!\.{0,2}(?:/|$))[\w./-]+$", re.ASCII)  # no pattern, no expression, and not all
# Inputs beside which a sparse checkout is still one of plain folders.
_OF_SPARSE = {"sparse-checkout", "persist-credentials", "fetch-depth", "clean"}
_FORWARDED = re.compile(r"\$\{\{\s*(github\.event\.)?inputs\.([\w-]+)\s*\}\}$")
MAX_INPUTS = 25
MAX_CALLS = 10  # a workflow calls one that calls one …


class WorkflowError(Exception):
    """The file is not a workflow; str() is what GitHub would say."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as GitHub reads it: `on` is a word, a date is text, and so are 0:30 and 1_000."""


# PyYAML's rules are of YAML 1.1; these are replaced below.
_OWN = (":bool", ":timestamp", ":int", ":float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if not tag.endswith(_OWN)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), [*"-+0123456789"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    [*"-+.0123456789"],
)
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
    waits: bool  # has `needs` or a matrix or calls a workflow, so GitHub makes the job later
    body: dict[str, Any] = field(default_factory=dict)


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
    data: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def id(self) -> int:
        """A number derived from the path, so that it survives a restart."""
        return 100_000_000 + zlib.crc32(f"{self.repository}/{self.path}".encode()) % 900_000_000

    @property
    def file(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        declared = self.triggers.get("workflow_dispatch", {}).get("inputs") or {}
        return {str(name): spec or {} for name, spec in declared.items()}

    @property
    def needs_tree(self) -> bool:
        """Whether a run reads files of the repository."""
        # A mere mention in a comment costs a needless copy, nothing more.
        return "actions/checkout" in self.text.lower() or bool(_USES_TREE.search(self.text))

    @property
    def folders(self) -> list[str] | None:
        """The folders that a run checks out, where every checkout names some (sparse-checkout); None: the whole tree.

        Patterns, expressions and called workflows take the whole tree. What a local action checks out is not looked
        for: it has these folders too.
        """
        steps = [step for job in self.jobs for step in job.body.get("steps") or []]
        checkouts = [step for step in steps if str(step.get("uses", "")).lower().startswith("actions/checkout@")]
        if len(checkouts) != self.text.lower().count("actions/checkout") or any(
            "uses" in job.body for job in self.jobs
        ):
            return None
        found: list[str] = []
        for step in checkouts:
            given = step.get("with") or {}
            lines = str(given.get("sparse-checkout", "")).split()
            if not lines or not all(map(_FOLDER.match, lines)) or not given.keys() <= _OF_SPARSE:
                return None
            found += [line.strip("/") for line in lines]
        return found or None

    def title(self, event: str, payload: dict[str, Any]) -> str:
        context = {"github": {"event": payload, "event_name": event}, "inputs": payload.get("inputs") or {}}
        named = interpolate(self.run_name, context).strip()
        return named or (payload.get("action") if event == "repository_dispatch" else "") or self.name

    def takes_event_type(self, event_type: str) -> bool:
        if "repository_dispatch" not in self.triggers:
            return False
        types = self.triggers["repository_dispatch"].get("types")
        return not types or event_type in ([types] if isinstance(types, str) else types)


def load_all(repository: str, tree: Path) -> list[Workflow]:
    """Read every workflow of a working tree, including broken ones, sorted by name."""
    files = sorted(p for p in (tree / DIRECTORY).glob("*") if p.suffix in (".yml", ".yaml") and p.is_file())
    return [load(repository, f"{DIRECTORY}/{p.name}", p.read_text(encoding="utf-8", errors="replace")) for p in files]


# Files are read anew at every request, since they may have changed; only the parsing is cached.
@functools.lru_cache(maxsize=512)
def load(repository: str, path: str, text: str) -> Workflow:
    """Read one workflow; cached by its text. A broken one has its path as name, as on GitHub, and `error`."""
    workflow = Workflow(repository, path, text.removeprefix("\ufeff"), name=path)
    try:
        root, data = read(workflow.text)
        workflow.error = ", ".join(check(root))
        if workflow.error:
            return workflow
        workflow.data = data
        workflow.name = str(data.get("name") or path)
        workflow.run_name = str(data.get("run-name") or "")
        workflow.triggers = _triggers(data.get("on"))
        workflow.jobs = [job_plan(key, job) for key, job in data["jobs"].items()]
        if len(workflow.inputs) > MAX_INPUTS:
            raise WorkflowError("you may only define up to 25 `inputs` for a `workflow_dispatch` event")
    except WorkflowError as error:
        workflow.error = str(error)
    except RecursionError:
        workflow.error = "(Line: 1, Col: 1): An alias stands within its own anchor, or too much lies in each other"
    return workflow


def read(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the nodes of a YAML text, which know their places, and its data. Raise WorkflowError."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"(Line: {mark.line + 1}, Col: {mark.column + 1}): " if mark else ""
        raise WorkflowError(where + str(getattr(error, "problem", error))) from error


def _triggers(on: Any) -> dict[str, dict[str, Any]]:
    if isinstance(on, str):
        return {on: {}}
    if isinstance(on, list):
        return {str(event): {} for event in on}
    if isinstance(on, dict):
        return {str(event): spec if isinstance(spec, dict) else {} for event, spec in on.items()}
    raise WorkflowError("(Line: 1, Col: 1): Required property is missing: on")


def called_workflow(tree: Path, uses: str, caller: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a reusable workflow in a tree, with `on` as a mapping. Raise WorkflowError."""
    file = (tree / uses).resolve()
    if not file.is_relative_to(tree.resolve()) or not file.is_file():
        raise WorkflowError(f'"{uses}" : workflow was not found.')
    called = load("", uses, file.read_text(encoding="utf-8", errors="replace"))
    if called.error:
        raise WorkflowError(f'"{uses}" : {called.error}')
    if "workflow_call" not in called.triggers:
        raise WorkflowError(f'"{uses}" : workflow is not reusable as it is missing a `on.workflow_call` trigger')
    declared = called.triggers["workflow_call"].get("inputs") or {}
    given = caller.get("with") or {}
    for name in given:
        if name not in declared:
            raise WorkflowError(f'"{uses}" : Invalid input, {name} is not defined in the referenced workflow.')
    for name, spec in declared.items():
        if (spec or {}).get("required") and name not in given:
            raise WorkflowError(f'"{uses}" : Input {name} is required, but not provided while calling.')
    return {**called.data, "on": dict(called.triggers)}


def misfit(given: dict[str, Any], declared: dict[str, Any], texts: set[str]) -> str:
    """Return which input of a called workflow gets text in place of its number or boolean, empty if none does.

    `texts` are those of the caller's own inputs that are text. Of a dispatch that is every one but the booleans:
    https://github.com/actions/runner/issues/2848
    """
    for name, value in given.items():
        kind = (declared.get(name) or {}).get("type")
        forwarded = _FORWARDED.match(value) if isinstance(value, str) else None
        is_text = (forwarded[1] or forwarded[2] in texts) if forwarded else "${{" not in str(value)
        if kind in ("number", "boolean") and isinstance(value, str) and is_text:
            hint = f"; write ${{{{ fromJSON({value[3:-2].strip()}) }}}}" if forwarded else ""
            return f"Unexpected value '{value}', which is text where input '{name}' is a {kind}{hint}"
    return ""


def called_error(workflow: Workflow, tree: Path) -> str:
    """Return what is wrong with the workflows of the same tree that a workflow calls; empty if nothing is."""

    def look(jobs: dict[str, Any], chain: tuple[str, ...]) -> None:
        for job in jobs.values():
            uses = str(job.get("uses", ""))
            if not uses.startswith("./"):
                continue
            if len(chain) > MAX_CALLS:
                raise WorkflowError(f'"{uses}" : workflows are called more than {MAX_CALLS} deep')
            look(called_workflow(tree, uses, job)["jobs"], (*chain, uses))

    try:
        look(workflow.data["jobs"], (workflow.path,))
    except WorkflowError as error:
        return f'error parsing called workflow "{workflow.path}" -> {error}'
    return ""


def job_plan(key: str, job: dict[str, Any]) -> JobPlan:
    labels = job.get("runs-on", [])
    if isinstance(labels, dict):  # a group of runners with labels
        labels = labels.get("labels", [])
    waits = bool(job.get("needs")) or "uses" in job or "matrix" in (job.get("strategy") or {})
    steps = [_step(step) for step in job.get("steps") or []]
    named = [labels] if isinstance(labels, str) else list(labels)
    return JobPlan(key, str(job.get("name") or key), named, steps, waits, job)


def _step(body: dict[str, Any]) -> Step:
    return Step(str(body.get("name") or default_name(str(body.get("uses") or body.get("run", "")))), body)


def default_name(text: str) -> str:
    """Return GitHub's name for a step without one: "Run" and the action, or the first line of the script."""
    return "Run " + text.strip().split("\n")[0]
