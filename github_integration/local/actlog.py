import json
import re
from typing import Any

from .clock import log_stamp
from .expressions import interpolate
from .runs import Annotation, Attempt, Job, Run, Runs

LEVELS = {"error": "failure", "warning": "warning", "notice": "notice"}
_EXIT = re.compile(r"exit status (\d+)$")
_RESULTS = {"success": "success", "failure": "failure", "skipped": "skipped"}


class ActLog:
    """Turns act's --json lines into jobs, steps and logs as GitHub shows them."""

    def __init__(self, runs: Runs, run: Run, attempt: Attempt) -> None:
        self.runs, self.run, self.attempt = runs, run, attempt
        self.refused = False  # whether a job asked for a runner that is none of ours
        self.plain: list[str] = []  # what act said outside of any job: why it could not start

    def feed(self, line: str) -> None:
        """Take one line of act's output."""
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or "jobID" not in entry:
            self.plain.append(line.strip())
            return
        with self.runs.lock:
            self._entry(entry, self._job(entry))

    @property
    def started(self) -> bool:
        """Whether any job began."""
        return any(job.started_at for job in self.attempt.jobs)

    def _job(self, entry: dict[str, Any]) -> Job:
        matrix = entry.get("matrix") or {}
        key = (entry["jobID"], json.dumps(matrix, sort_keys=True))
        for job in self.attempt.jobs:
            if job.key == key:
                return job
        plan = next((p for p in self.run.workflow.jobs if p.key == entry["jobID"]), None)
        written = plan.name if plan else entry["jobID"]
        inputs = self.run.payload.get("inputs") or {}
        name = interpolate(written, {"matrix": matrix, "inputs": inputs, "github": {"event": self.run.payload}})
        if matrix and name == written:
            name += f" ({', '.join(str(value) for value in matrix.values())})"
        job = Job(key, name, plan, self.attempt.number)
        self.runs.add_job(self.run, self.attempt, job)
        return job

    def _entry(self, entry: dict[str, Any], job: Job) -> None:
        message = str(entry.get("msg", ""))
        if job.status == "completed":
            return
        if job.status == "queued":
            self.runs.start_job(self.run, self.attempt, job)
            self._log(
                job,
                "Current runner: act on this machine",
                "Prepare workflow directory",
                f"Complete job name: {job.name}",
            )
        if message.startswith("🚧  Skipping unsupported platform"):
            self.refused = True
            labels = ", ".join(job.plan.labels) if job.plan else ""
            self._log(job, f"##[error]No runner for {labels or 'this job'} on this machine.")
            self.runs.end_job(self.run, self.attempt, job, "failure")
        elif "jobResult" in entry:
            result = _RESULTS.get(entry["jobResult"], "failure")
            # act calls a job good whose steps it left out because of an early cancel; GitHub does not.
            cut = result != "success" or any(step.status == "queued" for step in job.steps[:-1])
            cancelled = self.attempt.cancel_requested and cut
            self.runs.end_job(self.run, self.attempt, job, "cancelled" if cancelled else result)
        elif entry.get("stepid") == ["--setup-job"]:
            if "stepResult" in entry:
                job.steps[0].end(_RESULTS.get(entry["stepResult"], "failure"))
        elif entry.get("stepid") == ["--complete-job"]:
            job.steps[-1].start()
        elif entry.get("raw_output"):
            self._log(job, *message.removesuffix("\n").split("\n"))
        elif "command" in entry:
            self._command(job, entry)
        elif entry.get("stepID") and entry.get("stage") == "Main":
            self._step(job, entry, message)

    def _command(self, job: Job, entry: dict[str, Any]) -> None:
        command = entry["command"]
        properties, text = read_command(str(entry.get("raw", "")))
        if command in ("error", "warning", "notice", "group", "debug"):
            first, *rest = text.split("\n")
            self._log(job, f"##[{command}]{first}", *rest)
        if command in LEVELS:
            self._annotate(job, LEVELS[command], text, properties, step=self._index(job, entry))
        elif command == "endgroup":
            self._log(job, "##[endgroup]")

    def _step(self, job: Job, entry: dict[str, Any], message: str) -> None:
        path = entry["stepID"]
        index = self._index(job, entry)
        if index is None:
            return
        step = job.steps[index + 1]
        if len(path) == 1 and message.startswith("⭐"):
            step.start()
            self._headline(job, index)
        elif len(path) == 1 and "stepResult" in entry:
            result = _RESULTS.get(entry["stepResult"], "failure")
            stopped = self.attempt.cancel_requested and result == "failure"
            step.end("cancelled" if stopped else result)
        elif code := _EXIT.search(message):
            self._once(job, f"Process completed with exit code {code[1]}.", index)
        elif message.startswith("this step has been cancelled"):
            self._once(job, "The operation was canceled.", index)
        elif len(path) == 1 and entry.get("level") == "error":
            self._once(job, message.strip(), index)

    def _index(self, job: Job, entry: dict[str, Any]) -> int | None:
        step_id = (entry.get("stepID") or [""])[0]
        steps = job.plan.steps if job.plan else []
        names = [str(step.body.get("id") or number) for number, step in enumerate(steps)]
        return names.index(step_id) if step_id in names else None

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
        """Log and annotate what ended a step; act says some of it twice."""
        if not job.log or not job.log[-1].endswith(f"##[error]{text}"):
            self._log(job, *f"##[error]{text}".split("\n"))
            self._annotate(job, "failure", text, {}, step=step)

    def _annotate(self, job: Job, level: str, text: str, properties: dict[str, str], *, step: int | None) -> None:
        line = _number(properties.get("line"))
        column = _number(properties.get("col"))
        annotation = Annotation(
            level,
            text,
            properties.get("title", ""),
            properties.get("file", ".github"),
            line or len(job.log),  # GitHub puts what names no line at its line in the log
            _number(properties.get("endLine")) or line or len(job.log),
            column,
            _number(properties.get("endColumn")) or column,
        )
        job.annotate(annotation, -1 if step is None else step)

    def _log(self, job: Job, *lines: str) -> None:
        job.log.extend(f"{log_stamp()} {line}" for line in lines)


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
    return text.replace("%25", "%")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
