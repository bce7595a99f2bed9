"""Turns a workflow into the files that act runs: actions found, features that can't run here named, jobs introduced.

Each job begins with a hidden step that says which job it is under GitHub's names, and waits there for its concurrency
group. act evaluates the expressions, so that names, groups and limits may use whatever a workflow may use.
"""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .actions import Actions, Unavailable
from .workflow import MAX_CALLS, JobPlan, Workflow, WorkflowError, called_workflow, job_plan, misfit

STEP = "localgithub"  # the hidden step's id, and how its lines begin
MAIN_FILE = f".github/workflows/{STEP}.yml"  # not the run's own, which a checkout must find as it was written
CALLER = "localgithub_caller"  # the hidden input by which a called workflow knows its caller's name
GO = "localgithub-go"  # the file in the job's RUNNER_TEMP that ends its waiting
LABEL = "ubuntu-latest"  # of every job, for act, which would give all jobs of a matrix the first one's labels
FOREIGN = ("windows", "macos")  # runners that this machine can't stand in for
_INTRODUCE = f"""\
printf '%s\\n' "{STEP}:name=$LG_NAME" "{STEP}:group=$LG_GROUP" "{STEP}:cancel=$LG_CANCEL" \\
  "{STEP}:minutes=$LG_MINUTES" "{STEP}:failfast=$LG_FAIL_FAST" "{STEP}:temp=$RUNNER_TEMP" \\
  "{STEP}:labels=$LG_LABELS" "{STEP}:ready"
case "$(printf %s "$LG_LABELS" | tr A-Z a-z)" in *"[]"* | *"[{FOREIGN[0]}"* | *"[{FOREIGN[1]}"*) exit 1; esac
[ -z "$LG_GROUP" ] && exit 0
until [ -e "$RUNNER_TEMP/{GO}" ]; do sleep 0.05; done
[ ! -s "$RUNNER_TEMP/{GO}" ]
"""
_STATUS = re.compile(r"\b(?:success|failure|always|cancelled)\s*\(", re.IGNORECASE)
_ALWAYS = re.compile(r"\balways\s*\(|(?<![!\w])cancelled\s*\(", re.IGNORECASE)
_FAILED = """contains(toJSON(steps), '"conclusion": "failure"')"""


@dataclass
class CompiledJob:
    """One job of the run or of a workflow that it calls."""

    id: str  # by which act names it
    path: tuple[str, ...]  # its key, after those of its callers
    plan: JobPlan
    problems: list[str] = field(default_factory=list)  # why it can't run here
    notes: list[str] = field(default_factory=list)  # what is left out here

    @property
    def lasts(self) -> bool:
        """Whether the job goes on when its run is cancelled."""
        return runs_always(self.plan.body)


@dataclass
class Compiled:
    """What act is given."""

    files: dict[str, str] = field(default_factory=dict)  # text by path
    jobs: dict[str, CompiledJob] = field(default_factory=dict)
    actions: dict[str, Path] = field(default_factory=dict)  # folder by name@ref

    def unseen(self, seen: set[str]) -> list[CompiledJob]:
        """Return the jobs that GitHub lists as skipped, given the paths of those that were not.

        Of a workflow that was never called it lists its caller only.
        """
        found = []
        for job in self.jobs.values():
            called = all(_has(seen, job.path[:depth]) for depth in range(1, len(job.path)))
            if called and not _has(seen, job.path):
                found.append(job)
        return found


class Compiler:
    """Compiles one run's files."""

    def __init__(self, tree: Path, actions: Actions, *, docker: bool) -> None:
        self.tree, self.actions, self.docker = tree, actions, docker
        self._place = tree.with_name("served")
        self.done = Compiled()
        self._texts: set[str] = set()  # the inputs of the run's own workflow that are text, whatever their type
        self._caches = False  # whether the job at hand uses actions/cache, which saves when the job has ended

    def run(self, workflow: Workflow) -> Compiled:
        """Compile a workflow and all that it calls. Raise WorkflowError if the run can't start."""
        self._texts = {name for name, spec in workflow.inputs.items() if spec.get("type") != "boolean"}
        self._file(MAIN_FILE, {**workflow.data, "name": workflow.name}, self.tree, (), "", [])
        return self.done

    def _file(
        self, path: str, data: dict[str, Any], tree: Path, callers: tuple[str, ...], prefix: str, notes: list[str]
    ) -> None:
        jobs = {key: self._job(key, body, tree, callers, prefix, notes) for key, body in data["jobs"].items()}
        # The server applies these two itself.
        made = {key: value for key, value in data.items() if key not in ("run-name", "concurrency")}
        self.done.files[path] = json.dumps(_plain({**made, "jobs": jobs}), ensure_ascii=False)

    def _job(
        self, key: str, body: dict[str, Any], tree: Path, callers: tuple[str, ...], prefix: str, notes: list[str]
    ) -> dict[str, Any]:
        plan = job_plan(key, body)
        job = CompiledJob(f"lg{len(self.done.jobs) + 1}", (*callers, key), plan, notes=list(notes))
        self.done.jobs[job.id] = job
        # Likewise: the server keeps the time and the groups of jobs.
        made = {name: value for name, value in body.items() if name not in ("timeout-minutes", "concurrency")}
        # act's lines name the job by this id; the hidden step reports the real name.
        made["name"] = job.id
        if "uses" not in body:
            made["runs-on"] = LABEL
        strategy: dict[str, Any] = body.get("strategy") or {}
        if strategy:  # act would run four at a time, and reads no expression here; ending the others is up to us
            made["strategy"] = {"max-parallel": 64, **strategy, "fail-fast": False}
        if "uses" in body:
            return self._call(job, made, tree, prefix)
        steps = list(body.get("steps") or [])
        self._caches = False
        job.problems = self._problems(body, steps, tree, [label for label in plan.labels if "${{" not in label])
        group, cancel = read_concurrency(body.get("concurrency"))
        introduction: dict[str, Any] = {
            # Shell and folder are set because the job's `defaults` may name ones that are not there yet.
            "id": STEP,
            "shell": "sh",
            "working-directory": ".",
            "env": {
                "LG_NAME": prefix + plan.name,
                "LG_GROUP": group,
                "LG_CANCEL": _text(cancel),
                "LG_FAIL_FAST": _text(strategy.get("fail-fast", True)),
                "LG_MINUTES": _text(body.get("timeout-minutes", "")),
                "LG_LABELS": "".join(f"[{_joined(label)}]" for label in plan.labels),
            },
            "run": _INTRODUCE,
        }
        if job.problems:
            # The job only has to fail; that must not need the containers that this machine can't start.
            made = {name: value for name, value in made.items() if name not in ("container", "services")}
            made["steps"] = [introduction, {"shell": "sh", "working-directory": ".", "run": "exit 1"}]
            return made
        if job.lasts:
            introduction["if"] = "always()"
            # It goes on when the run is cancelled; act would leave out the steps that don't say always() themselves.
            steps = [_if(step, f"always() && !{_FAILED}", "") for step in steps]
        if group or any("${{" in label for label in plan.labels):  # the hidden step may fail
            steps = [_if(step, "success()", f"steps.{STEP}.outcome == 'success' && ") for step in steps]
        if self._caches:
            save = f'"$LOCAL_GITHUB_PYTHON" -I -S {shlex.quote(str(self.actions.stand_ins))}/cache/cache.py save-all'
            steps.append({"if": "success()", "shell": "sh", "working-directory": ".", "run": save})
        made["steps"] = [introduction, *steps]
        return made

    def _call(self, job: CompiledJob, made: dict[str, Any], tree: Path, prefix: str) -> dict[str, Any]:
        uses = str(made["uses"])
        if len(job.path) > MAX_CALLS:
            raise WorkflowError(f'"{uses}" : workflows are called more than {MAX_CALLS} deep')
        name, at, ref = uses.partition("@")
        if at:
            owner, repo, path = name.split("/", 2)
            try:
                tree = self.actions.locate(f"{owner}/{repo}", ref, self._place)
            except Unavailable as error:
                raise WorkflowError(f"{uses}: {error}") from error
            data = called_workflow(tree, f"./{path}", job.plan.body)
        else:
            data = called_workflow(tree, uses, job.plan.body)
        declared = (data["on"].get("workflow_call") or {}).get("inputs") or {}
        if wrong := misfit(made.get("with") or {}, declared, self._texts if len(job.path) == 1 else set()):
            raise WorkflowError(f"{uses}: The template is not valid. {wrong}.")
        notes = []
        if "concurrency" in job.plan.body or "concurrency" in data:
            notes.append(f"concurrency of the called workflow {uses} is left out by the local GitHub.")
        # act does not tell a called job who called it, so a hidden input passes the caller's name on.
        called = data["on"]["workflow_call"] = dict(data["on"].get("workflow_call") or {})
        called["inputs"] = {**(called.get("inputs") or {}), CALLER: {"type": "string", "default": ""}}
        path = f".github/workflows/{STEP}-{job.id}.yml"
        self._file(path, data, tree, job.path, f"${{{{ inputs.{CALLER} }}}} / ", notes)
        shown = prefix + job.plan.name + _matrix_suffix(job.plan)
        return {**made, "uses": f"./{path}", "with": {**(made.get("with") or {}), CALLER: shown}}

    def _problems(self, body: dict[str, Any], steps: list[dict[str, Any]], tree: Path, labels: list[str]) -> list[str]:
        """Return why a job can't run on this machine; empty if it can."""
        problems = [said] if (said := no_runner(labels)) else []
        if body.get("container") and not self.docker:
            problems.append("`container:` needs Docker, and no Docker answers on this machine.")
        elif body.get("services") and not body.get("container"):
            problems.append("`services:` can't run here: the local GitHub starts no service containers.")
        elif body.get("services") and not self.docker:
            problems.append("`services:` needs Docker, and no Docker answers on this machine.")
        seen: set[str] = set()
        for step in steps:
            problems += self._action_problems(step, tree, seen)
        return problems

    def _action_problems(self, step: dict[str, Any], tree: Path, seen: set[str]) -> list[str]:
        uses = str(step.get("uses") or "")
        if not uses or uses in seen:
            return []
        # Composite actions may use each other.
        seen.add(uses)
        if uses.startswith("docker://"):
            return [] if self.docker else [f"{uses} needs Docker, and no Docker answers on this machine."]
        if uses.startswith("./"):
            folder = tree / uses
            # The run may create what is not in the tree; act reports it if it does not.
            return self._folder_problems(uses, folder, tree, seen) if folder.is_dir() else []
        name, _, ref = uses.partition("@")
        if "/" not in name or not ref:  # in an action; a workflow's own steps are checked before
            return [f"Expected format {{org}}/{{repo}}[/path]@ref. Actual '{uses}'"]
        owner, repo, *rest = name.split("/", 2)
        self._caches |= name.lower() == "actions/cache"
        try:
            folder = self.actions.locate(f"{owner}/{repo}", ref, self._place)
        except Unavailable as error:
            return [f"Unable to resolve action `{uses}`: {error}"]
        self.done.actions[f"{owner}/{repo}@{ref}"] = folder
        return self._folder_problems(uses, folder / (rest[0] if rest else ""), tree, seen)

    def _folder_problems(self, uses: str, folder: Path, tree: Path, seen: set[str]) -> list[str]:
        action = self.actions.read(folder)
        if action is None:
            return [f"Can't find 'action.yml', 'action.yaml' or 'Dockerfile' for action `{uses}`."]
        kind = str(action.get("using", "")).lower()
        if kind == "docker" and not self.docker:
            return [f"Action `{uses}` is a Docker action, and no Docker answers on this machine."]
        if kind.startswith("node") and self.actions.node is None:
            return [f"Action `{uses}` is written in JavaScript, and no `node` that runs is on this machine."]
        problems = []
        for step in action.get("steps") or [] if kind == "composite" else []:
            problems += self._action_problems(step, tree, seen)
        return problems


def _has(seen: set[str], path: tuple[str, ...]) -> bool:
    whole = "/".join(path)
    return any(one == whole or one.startswith(whole + "/") for one in seen)


def runs_always(body: dict[str, Any]) -> bool:
    return bool(_ALWAYS.search(_text(body.get("if", ""))))


def no_runner(labels: list[str]) -> str:
    """Return why no runner takes a job with these labels, empty if one does."""
    if any(label.lower().startswith(FOREIGN) for label in labels):
        return f"No runner for {', '.join(labels)} on this machine."
    return "" if all(labels) else "Error when evaluating 'runs-on': Unexpected value ''"


def _joined(label: str) -> str:
    """Return a label that may be an expression for a list, with `][` between the values."""
    if label.startswith("${{") and label.endswith("}}") and label.count("${{") == 1:
        return f"${{{{ join({label[3:-2].strip()}, '][') }}}}"
    return label


def read_concurrency(written: Any) -> tuple[str, Any]:
    """Return the group as written (empty: none) and whether a newcomer ends what runs."""
    if isinstance(written, dict):
        return _text(written.get("group", "")), written.get("cancel-in-progress", False)
    return _text(written or ""), False


def _matrix_suffix(plan: JobPlan) -> str:
    matrix = (plan.body.get("strategy") or {}).get("matrix")
    # GitHub appends the values of a matrix to a name that does not use them.
    keys = [key for key in matrix if key not in ("include", "exclude")] if isinstance(matrix, dict) else []
    if not keys or "matrix." in plan.name:
        return ""
    return " (" + ", ".join(f"${{{{ matrix.{key} }}}}" for key in keys) + ")"


def _if(step: dict[str, Any], default: str, first: str) -> dict[str, Any]:
    """Return the step with `default` as its condition if it has none, and with `first` before it in any case."""
    written = _text(step.get("if", "")).strip()
    if "${{" in written and not (written.startswith("${{") and written.endswith("}}") and written.count("${{") == 1):
        return step  # a text with an expression in it is not a condition, but always true
    condition = written.removeprefix("${{").removesuffix("}}").strip() if "${{" in written else written
    if not condition:
        condition = default
    elif not _STATUS.search(condition):
        condition = f"{default} && ({condition})"
    return {**step, "if": f"${{{{ {first}({condition}) }}}}"}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _plain(value: Any) -> Any:
    """Write whole numbers without a point, as GitHub reads them."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
