import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .clock import next_id, now
from .repositories import Repository
from .workflow import JobPlan, Workflow


@dataclass
class StepState:
    """One line of a job's steps, in GitHub's words."""

    name: str
    number: int
    status: str = "queued"
    conclusion: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    def start(self) -> None:
        if self.status == "queued":
            self.status, self.started_at = "in_progress", now()

    def end(self, conclusion: str) -> None:
        """End the step; one that never began takes no time."""
        if self.status != "completed":
            self.started_at = self.started_at or now()
            self.status, self.conclusion, self.completed_at = "completed", conclusion, now()


@dataclass(frozen=True)
class Annotation:
    """One annotation of a job's check run."""

    level: str  # notice, warning or failure
    message: str
    title: str = ""
    path: str = ".github"  # what GitHub writes where no file was named
    start_line: int = 1
    end_line: int = 1
    start_column: int | None = None
    end_column: int | None = None


ANNOTATIONS_PER_STEP = 10  # of each level
ANNOTATIONS_PER_JOB = 50


@dataclass
class Job:
    """One job of one attempt."""

    key: tuple[str, str]  # the job's key in the file and its matrix values
    name: str
    plan: JobPlan | None
    attempt: int
    id: int = field(default_factory=next_id)
    status: str = "queued"
    conclusion: str | None = None
    created_at: datetime = field(default_factory=now)
    started_at: datetime | None = None
    completed_at: datetime | None = None
    steps: list[StepState] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    stopped: str = ""  # why it is being ended before its time
    _counted: Counter[tuple[int, str]] = field(default_factory=Counter)

    def annotate(self, annotation: Annotation, step: int = 0) -> None:
        """Keep an annotation of a step, up to GitHub's limits."""
        self._counted[step, annotation.level] += 1
        room = len(self.annotations) < ANNOTATIONS_PER_JOB
        if room and self._counted[step, annotation.level] <= ANNOTATIONS_PER_STEP:
            self.annotations.append(annotation)

    def start(self) -> None:
        """Start the job; from now on GitHub lists its steps."""
        self.status, self.started_at = "in_progress", now()
        names = ["Set up job", *(s.name for s in (self.plan.steps if self.plan else [])), "Complete job"]
        self.steps = [StepState(name, number) for number, name in enumerate(names, 1)]
        self.steps[0].start()

    def end(self, conclusion: str) -> None:
        """End the job and those of its steps that are still open."""
        for step in self.steps:
            ran = step.status == "in_progress"
            step.end("cancelled" if ran and conclusion == "cancelled" else conclusion if ran else "skipped")
        if self.steps:
            self.steps[-1].conclusion = "success"  # "Complete job" cleans up, however the job went
        self.status, self.conclusion, self.completed_at = "completed", conclusion, now()


@dataclass
class Attempt:
    """One attempt at a run; a re-run adds another."""

    number: int
    actor: str  # the login of who asked for it: the run's `triggering_actor`
    status: str = "queued"
    conclusion: str | None = None
    started_at: datetime = field(default_factory=now)  # when it was made, not when anything began
    updated_at: datetime = field(default_factory=now)
    jobs: list[Job] = field(default_factory=list)
    cancel_requested: bool = False
    why_cancelled: str = ""  # GitHub's sentence for its jobs, where it was not a person who asked
    problem: str = ""  # why it could not start
    group: str = ""  # its concurrency group


@dataclass
class Artifact:
    """One stored artifact."""

    id: int
    name: str
    file: Path
    size: int
    sha256: str
    zipped: bool
    created_at: datetime
    expires_at: datetime

    @property
    def expired(self) -> bool:
        return now() >= self.expires_at


@dataclass
class Run:
    """One workflow run with all its attempts."""

    repository: Repository
    workflow: Workflow
    event: str
    payload: dict[str, Any]
    ref: str
    sha: str
    number: int
    title: str
    actor: str  # the login of who started it
    noise: bool = False
    id: int = field(default_factory=next_id)
    suite_id: int = field(default_factory=next_id)
    created_at: datetime = field(default_factory=now)
    attempts: list[Attempt] = field(default_factory=list)
    artifacts: dict[int, Artifact] = field(default_factory=dict)

    @property
    def attempt(self) -> Attempt:
        return self.attempts[-1]

    @property
    def branch(self) -> str:
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")

    @property
    def cast_id(self) -> str | None:
        """The id that the caller gave the run, for the record."""
        given = (self.payload.get("inputs") or self.payload.get("client_payload") or {}).get("cast_id")
        return None if given is None else str(given)


Listener = Callable[[Run, Attempt, str, Job | None], None]


class Runs:
    """All runs. Every change is made here, under one lock, and announced by webhooks."""

    def __init__(self, listener: Listener) -> None:
        # Reentrant, because changes cause others: the end of a run ends its jobs.
        self.lock = threading.RLock()
        self._runs: dict[int, Run] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        # Called under the lock, so that webhooks are queued in the order of the changes.
        self._tell = listener

    def all(self) -> list[Run]:
        with self.lock:
            return sorted(self._runs.values(), key=lambda run: -run.id)

    def get(self, repository: Repository, run_id: int) -> Run | None:
        run = self._runs.get(run_id)
        return run if run and run.repository is repository else None

    def jobs(self, repository: Repository) -> Iterator[tuple[Run, Attempt, Job]]:
        for run in self.all():
            for attempt in run.attempts if run.repository is repository else []:
                for job in attempt.jobs:
                    yield run, attempt, job

    def create(
        self,
        workflow: Workflow,
        repository: Repository,
        event: str,
        payload: dict[str, Any],
        ref: str,
        sha: str,
        *,
        actor: str,
        title: str = "",
        noise: bool = False,
    ) -> Run:
        """Queue a new run and announce it; `title` replaces the file's run-name."""
        with self.lock:
            key = (repository.full_name, workflow.path)
            self._numbers[key] = self._numbers.get(key, 0) + 1
            title = title or workflow.title(event, payload)
            run = Run(repository, workflow, event, payload, ref, sha, self._numbers[key], title, actor, noise)
            self._runs[run.id] = run
            self.add_attempt(run, actor)
            return run

    def add_attempt(self, run: Run, actor: str) -> Attempt:
        """Queue the run's first or next attempt; GitHub sends `requested` for the first only."""
        with self.lock:
            attempt = Attempt(len(run.attempts) + 1, actor)
            run.attempts.append(attempt)
            if attempt.number == 1:
                self._tell(run, attempt, "requested", None)
            for plan in run.workflow.jobs:
                if not plan.waits:
                    self.add_job(run, attempt, Job((plan.key, "{}"), plan.name, plan, attempt.number))
            return attempt

    def add_job(self, run: Run, attempt: Attempt, job: Job) -> None:
        with self.lock:
            attempt.jobs.append(job)
            self._tell(run, attempt, "queued", job)

    def start(self, run: Run, attempt: Attempt) -> None:
        with self.lock:
            if attempt.status in ("queued", "pending"):
                attempt.status, attempt.updated_at = "in_progress", now()
                self._tell(run, attempt, "in_progress", None)

    def start_job(self, run: Run, attempt: Attempt, job: Job) -> None:
        with self.lock:
            self.start(run, attempt)
            job.start()
            self._tell(run, attempt, "in_progress", job)

    def end_job(self, run: Run, attempt: Attempt, job: Job, conclusion: str) -> None:
        with self.lock:
            if job.status != "completed":
                why = attempt.why_cancelled
                # Jobs of a matrix, and those that wait for others, may have been created after the run was cancelled.
                if conclusion == "cancelled" and why and all(told.message != why for told in job.annotations):
                    job.annotate(Annotation("failure", why), -2)
                job.end(conclusion)
                self._tell(run, attempt, "completed", job)

    def end(self, run: Run, attempt: Attempt, conclusion: str) -> None:
        """End an attempt, unless it has ended, with all jobs that are still open."""
        with self.lock:
            if attempt.status == "completed":
                return
            for job in attempt.jobs:
                self.end_job(run, attempt, job, conclusion if conclusion == "cancelled" else "skipped")
            attempt.status, attempt.conclusion, attempt.updated_at = "completed", conclusion, now()
            self._tell(run, attempt, "completed", None)

    def never_started(self, run: Run, attempt: Attempt, reason: str) -> None:
        with self.lock:
            for job in attempt.jobs:
                job.annotate(Annotation("failure", reason))
                self.end_job(run, attempt, job, "failure")
            self.add_waiting(run, attempt)
            self.end(run, attempt, "failure")

    def add_waiting(self, run: Run, attempt: Attempt) -> None:
        """Queue the jobs that would have been created later, for a run that ends before that."""
        with self.lock:
            for plan in run.workflow.jobs:
                if plan.waits:
                    self.add_job(run, attempt, Job((plan.key, "{}"), plan.name, plan, attempt.number))

    def keep_artifact(self, run: Run, facts: dict[str, Any], file: Path) -> None:
        """Make an uploaded artifact visible, even while its run goes on."""
        with self.lock:
            if facts["id"] not in run.artifacts:
                expires = now() + timedelta(days=facts["days"])
                run.artifacts[facts["id"]] = Artifact(
                    facts["id"], facts["name"], file, facts["size"], facts["sha256"], facts["zip"], now(), expires
                )
