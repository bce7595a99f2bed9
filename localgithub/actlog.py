import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .clock import log_stamp
from .compiler import STEP, Compiled, CompiledJob, no_runner
from .expressions import interpolate
from .runs import Annotation, Attempt, Job, Run, Runs
from .workflow import default_name

LEVELS = {"error": "failure", "warning": "warning", "notice": "notice"}
_EXIT = re.compile(r"exit status (\d+)$")
_NO_ACTION = re.compile(r"failed to read 'action\.ya?ml' from action '([^']*)'")
_ID = re.compile(r"/(lg\d+)(?:-\d+)?\s*$")
_RESULTS = {"success": "success", "failure": "failure", "skipped": "skipped"}


@dataclass
class _Known:
    """What is known of one of act's jobs."""

    compiled: CompiledJob
    matrix: dict[str, Any]
    name: str  # act's own
    said: dict[str, str] = field(default_factory=dict)  # what its hidden step told
    errors: list[str] = field(default_factory=list)  # what act said before the job was introduced
    forgiven: set[int] = field(default_factory=set)  # steps that failed under continue-on-error
    problems: list[str] = field(default_factory=list)  # why it can't run here
    failed: bool = False  # whether anything of this very job failed
    job: Job | None = None

    @property
    def values(self) -> list[str]:
        # GitHub lists the values in the order in which the file has their keys.
        written = [*((self.compiled.plan.body.get("strategy") or {}).get("matrix") or {})]
        order = sorted(self.matrix, key=lambda key: written.index(key) if key in written else len(written))
        return [_shown(self.matrix[key]) for key in order]

    @property
    def strategy(self) -> tuple[str, str]:
        """What the jobs of one matrix have in common: their key, and who called them."""
        return self.compiled.id, self.name.rpartition("/")[0]


class ActLog:
    """Turns act's --json lines into jobs, steps and logs as GitHub shows them.

    `ready` is called with a job and what its hidden step told, when the job would begin; `stop` with a job that is to
    end before its time, and why.
    """

    def __init__(
        self,
        runs: Runs,
        run: Run,
        attempt: Attempt,
        compiled: Compiled,
        masks: list[str],
        ready: Callable[[Job, dict[str, str]], None],
        stop: Callable[[Job, str], None],
    ) -> None:
        self.runs, self.run, self.attempt, self.compiled, self.ready = runs, run, attempt, compiled, ready
        self.masks, self.stop = masks, stop
        self.plain: list[str] = []  # what act said outside of any job: why it could not start
        self._known: dict[tuple[str, str], _Known] = {}
        self._given_up: dict[tuple[str, str], str] = {}  # matrices of which a job failed, and what GitHub says of it

    def feed(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        found = _ID.search(str(entry.get("job", ""))) if isinstance(entry, dict) else None
        compiled = self.compiled.jobs.get(found[1]) if found else None
        if compiled is None:
            self.plain.append(line.strip())
            return
        matrix = entry.get("matrix") or {}
        with self.runs.lock:
            key = (str(entry["job"]), json.dumps(matrix, sort_keys=True))
            known = self._known.setdefault(key, _Known(compiled, matrix, key[0], problems=list(compiled.problems)))
            if known.job is None:
                self._before(known, entry)
            # What a job logs that can't run here is our own doing, and not shown.
            elif not known.problems:
                if entry.get("level") == "error" and "command" not in entry:
                    known.failed = True
                self._entry(known, known.job, entry)
            elif "jobResult" in entry:
                self._result(known, known.job, entry)

    @property
    def started(self) -> bool:
        return any(known.job for known in self._known.values())

    def _before(self, known: _Known, entry: dict[str, Any]) -> None:
        """Handle what act says of a job before its hidden step has reported everything."""
        message = str(entry.get("msg", ""))
        if entry.get("raw_output") and message.startswith(STEP + ":"):
            name, _, value = message.rstrip("\r\n").removeprefix(STEP + ":").partition("=")
            known.said[name] = value
            if name == "ready":
                self._introduce(known)
        elif entry.get("jobResult") == "skipped":
            known.job = self._job(known)
            self.runs.end_job(self.run, self.attempt, known.job, "skipped")
        elif "jobResult" in entry:
            job = self._begin(known)
            self._set_up_failed(job, known.errors)
            self._result(known, job, entry)
        elif entry.get("level") == "error" and "command" not in entry:
            text = message.strip()
            # act repeats some errors, in whole or in part.
            if text not in known.errors and not any(text in earlier for earlier in known.errors):
                known.errors.append(text)

    def _introduce(self, known: _Known) -> None:
        known.job = job = self._job(known)
        labels = known.compiled.plan.labels
        # Labels that an expression gives are known only now.
        if not known.problems and labels and (said := no_runner(known.said["labels"][1:-1].split("]["))):
            known.problems.append(f"{said} (runs-on: {', '.join(labels)})")
        if known.problems:
            self.runs.start_job(self.run, self.attempt, job)
            self._head(job)
            self._set_up_failed(job, known.problems)
            return
        self._head(job)
        for note in known.compiled.notes:
            self._log(job, f"##[warning]{note}")
            job.annotate(Annotation("warning", note))
        self.ready(job, known.said)
        # A job of the same matrix failed before this one was introduced.
        if known.strategy in self._given_up:
            self.stop(job, self._given_up[known.strategy])

    def _begin(self, known: _Known) -> Job:
        known.job = job = self._job(known)
        self.runs.start_job(self.run, self.attempt, job)
        self._head(job)
        return job

    def _head(self, job: Job) -> None:
        self._log(
            job,
            "Current runner: act on this machine",
            "Prepare workflow directory",
            f"Complete job name: {job.name}",
        )

    def _set_up_failed(self, job: Job, errors: list[str]) -> None:
        for error in errors:
            self._once(job, error, 0)
        job.steps[0].end("failure")

    def _job(self, known: _Known) -> Job:
        """Return GitHub's job of one of act's: one that was queued with the run, or a new one."""
        name = self._name(known)
        key = ("/".join(known.compiled.path), "{}")
        for job in self.attempt.jobs:
            # GitHub queues jobs without `needs` and without a matrix along with the run; we did, too.
            if job.key == key and job.status == "queued" and len(known.compiled.path) == 1 and not known.matrix:
                job.name = name
                return job
        key = (key[0], json.dumps([known.name, known.matrix], sort_keys=True))
        job = Job(key, name, known.compiled.plan, self.attempt.number)
        self.runs.add_job(self.run, self.attempt, job)
        return job

    def _name(self, known: _Known) -> str:
        plan = known.compiled.plan
        name = known.said.get("name", "")
        if not name:
            # The hidden step of a skipped job never ran, so act has not evaluated the name.
            inputs = self.run.payload.get("inputs") or {}
            context = {"matrix": known.matrix, "inputs": inputs, "github": {"event": self.run.payload}}
            name = " / ".join([*known.compiled.path[:-1], interpolate(plan.name, context)])
        if known.matrix and "matrix" not in plan.name:
            name += f" ({', '.join(known.values)})"
        return name

    def _entry(self, known: _Known, job: Job, entry: dict[str, Any]) -> None:
        message = str(entry.get("msg", ""))
        # The hidden step is ours; GitHub's jobs don't have it.
        if job.status == "completed" or entry.get("stepID") == [STEP]:
            return
        if "jobResult" in entry:
            self._result(known, job, entry)
        elif entry.get("stepid") == ["--setup-job"]:
            if entry.get("level") == "error":
                self._once(job, message.strip(), 0)
        elif entry.get("stepid") == ["--complete-job"]:
            job.steps[-1].start()
        elif entry.get("raw_output"):
            self._log(job, *message.removesuffix("\n").split("\n"))
        elif "command" in entry:
            self._command(job, entry)
        elif entry.get("stepID"):
            self._step(known, job, entry, message)

    def _result(self, known: _Known, job: Job, entry: dict[str, Any]) -> None:
        result = _RESULTS.get(entry["jobResult"], "failure")
        if result == "failure" and known.matrix and not (known.failed or known.errors or known.problems):
            result = "success"  # act calls all jobs of a matrix failed when one of them is
        # act calls a job good whose steps it left out because of an early cancel; GitHub does not.
        left_out = not known.compiled.lasts and any(step.status == "queued" for step in job.steps[:-1])
        cut = result != "success" or left_out
        cancelled = bool(job.stopped) or (self.attempt.cancel_requested and cut)
        self.runs.end_job(self.run, self.attempt, job, "cancelled" if cancelled else result)
        if job.conclusion == "failure" and known.said.get("failfast") == "true":
            self._give_up(known)

    def _give_up(self, known: _Known) -> None:
        """End the other jobs of a matrix of which one has failed."""
        if known.compiled.plan.body.get("continue-on-error"):
            return
        values = "_".join(re.sub(r"\W", "_", value) for value in known.values)
        why = f'The strategy configuration was canceled because "{known.compiled.plan.key}.{values}" failed'
        self._given_up[known.strategy] = why
        for other in self._known.values():
            if other.strategy == known.strategy and other.job and other.job.status != "completed":
                self.stop(other.job, why)

    def _command(self, job: Job, entry: dict[str, Any]) -> None:
        command = entry["command"]
        properties, text = read_command(str(entry.get("raw", "")))
        if command == "add-mask":
            self.masks += masks([text])
            return
        if command in ("error", "warning", "notice", "group", "debug"):
            first, *rest = text.split("\n")
            self._log(job, f"##[{command}]{first}", *rest)
        if command in LEVELS:
            self._annotate(job, LEVELS[command], text, properties, step=self._index(job, entry))
        elif command == "endgroup":
            self._log(job, "##[endgroup]")

    def _step(self, known: _Known, job: Job, entry: dict[str, Any], message: str) -> None:
        path = entry["stepID"]
        index = self._index(job, entry)
        if index is None:
            return
        step = job.steps[index + 1]
        main = entry.get("stage") == "Main"
        # How act marks a step's beginning. Longer paths are steps of a composite action, which GitHub does not list.
        if main and len(path) == 1 and message.startswith("⭐"):
            for earlier in job.steps[:1]:
                earlier.end("success")
            step.start()
            self._name_step(job, index, str(entry.get("step", "")))
            self._headline(job, index)
        elif main and len(path) == 1 and "stepResult" in entry:
            result = _RESULTS.get(entry["stepResult"], "failure")
            stopped = (self.attempt.cancel_requested or job.stopped) and result == "failure"
            if result == "failure" and index in known.forgiven:
                result = "success"  # the job goes on as if it were
            known.failed |= result == "failure"
            step.end("cancelled" if stopped else result)
        elif main and len(path) == 1 and message == "Failed but continue next step":
            known.forgiven.add(index)
        elif code := _EXIT.search(message):
            self._once(job, f"Process completed with exit code {code[1]}.", index)
        elif message.startswith("this step has been cancelled") or (job.stopped and "signal: killed" in message):
            self._once(job, "The operation was canceled.", index)
        elif entry.get("level") == "error":
            self._once(job, _as_github_says(message.strip()), index)

    def _index(self, job: Job, entry: dict[str, Any]) -> int | None:
        """Return which of the written steps an entry is about; act counts the hidden one, too."""
        step_id = (entry.get("stepID") or [""])[0]
        steps = job.plan.steps if job.plan else []
        # act numbers steps from 0; the hidden step is 0, so the written ones begin at 1.
        names = [str(step.body.get("id") or number) for number, step in enumerate(steps, 1)]
        return names.index(step_id) if step_id in names else None

    def _name_step(self, job: Job, index: int, said: str) -> None:
        """Give a step that begins its name as act has evaluated it; act says nothing if it can't."""
        written = job.plan.steps[index] if job.plan else None
        if written and "${{" in written.name and said.strip():
            named = said.strip() if written.body.get("name") else default_name(said)
            job.steps[index + 1].name = self._masked(named)

    def _headline(self, job: Job, index: int) -> None:
        body = job.plan.steps[index].body if job.plan else {}
        script = str(body.get("run") or body.get("uses") or "").rstrip("\n").split("\n")
        self._log(job, f"##[group]Run {script[0]}")
        if "run" in body:
            self._log(job, *(f"\x1b[36;1m{line}\x1b[0m" for line in script))
        for name, value in (body.get("with") or {}).items():
            self._log(job, f"  {name}: {value}")
        self._log(job, "##[endgroup]")

    def _once(self, job: Job, text: str, step: int) -> None:
        """Log and annotate the error that ended a step, unless that was just done: act reports some of them twice."""
        if not any(line.endswith(f"##[error]{self._masked(text)}") for line in job.log[-2:]):
            self._log(job, *f"##[error]{text}".split("\n"))
            self._annotate(job, "failure", text, {}, step=step)

    def tell(self, job: Job, text: str) -> None:
        # Step -2 stands for the job itself, since GitHub limits annotations per step.
        self._log(job, f"##[error]{text}")
        job.annotate(Annotation("failure", text), -2)

    def _annotate(self, job: Job, level: str, text: str, properties: dict[str, str], *, step: int | None) -> None:
        file = properties.get("file", "")
        # Where no line is named, GitHub puts it at the first of the file, or without a file at its line in the log.
        line = _number(properties.get("line")) or (1 if file else len(job.log))
        column = _number(properties.get("col"))
        annotation = Annotation(
            level,
            self._masked(text),
            self._masked(properties.get("title", "")),
            file or ".github",
            line,
            _number(properties.get("endLine")) or line,
            column,
            _number(properties.get("endColumn")) or column,
        )
        job.annotate(annotation, -1 if step is None else step)

    def _log(self, job: Job, *lines: str) -> None:
        whole = self._masked("\n".join(lines))
        job.log.extend(f"{log_stamp()} {line}" for line in whole.split("\n"))

    def _masked(self, text: str) -> str:
        for secret in self.masks:
            text = text.replace(secret, "***")
        return text


def masks(secrets: list[str]) -> list[str]:
    """Return what must not be shown of secrets, the longest first: each as a whole, and each of its lines."""
    parts = {part for secret in secrets for part in (secret, *secret.splitlines()) if part.strip()}
    return sorted(parts, key=len, reverse=True)


def read_command(raw: str) -> tuple[dict[str, str], str]:
    """Return properties and text of a `::command key=value,…::text` line.

    act cuts the line at the last `::`, GitHub at the first after the command; so we read it ourselves.
    """
    head, _, text = raw.strip().removeprefix("::").partition("::")
    pairs = (pair.partition("=") for pair in head.partition(" ")[2].split(",") if "=" in pair)
    return {key.strip(): _unescape(value, ":,") for key, _, value in pairs}, _unescape(text)


def _unescape(text: str, more: str = "") -> str:
    for sign in ("\r", "\n", *more):
        text = text.replace(f"%{ord(sign):02X}", sign)
    # Last: otherwise an escaped percent sign followed by 0A would become a line break.
    return text.replace("%25", "%")


def _as_github_says(text: str) -> str:
    if missing := _NO_ACTION.match(text):
        return (
            f"Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under '{missing[1]}'. "
            "Did you forget to run actions/checkout before running your local action?"
        )
    return text


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
