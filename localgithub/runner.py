import json
import logging
import os
import queue
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import processes
from .actions import Actions
from .actlog import ActLog, masks
from .auth import Auth
from .compiler import GO, LABEL, MAIN_FILE, Compiled, Compiler, read_concurrency, runs_always
from .concurrency import Groups, Member
from .config import Config
from .expressions import interpolate, to_text
from .faults import Faults
from .repositories import Repository
from .runs import Annotation, Attempt, Job, Run, Runs
from .shapes import user_id
from .workflow import WorkflowError
from .workplace import make_workplace

logger = logging.getLogger(__name__)
JOB_PERMISSIONS = {"actions": "read", "contents": "read", "metadata": "read"}  # of secrets.GITHUB_TOKEN
DEFAULT_MINUTES = 360  # for a job without timeout-minutes


class Runner:
    """Threads that take queued runs and execute them with act."""

    def __init__(self, config: Config, runs: Runs, faults: Faults, auth: Auth, served: dict[str, Repository]) -> None:
        self.config, self.runs, self.faults, self.auth, self.served = config, runs, faults, auth, served
        self.act = find_act()
        self.work = Path()
        self.docker = False
        self._queue: queue.SimpleQueue[tuple[Run, Attempt] | None] = queue.SimpleQueue()
        self._groups = Groups()
        self._executions: dict[int, Execution] = {}
        self._slots = threading.Condition()
        self._busy = 0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"runner-{number}", daemon=True)
            for number in range(config.concurrency)
        ]

    def start(self) -> None:
        self.work = make_workplace(self.config.state_dir)
        shutil.rmtree(self.config.state_dir / "artifacts", ignore_errors=True)  # of runs of an earlier process
        (self.work / "home").mkdir()
        (self.work / "bin").mkdir()
        # Without the platform's virtual environment: a run must not see our packages.
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        for name, program in {"python3": python, "bash": shutil.which("bash"), "sh": shutil.which("sh")}.items():
            _wrap(self.work / "bin" / name, program or name)
        self.actions = Actions(self.work, self.config.state_dir / "actions", self.config.actions_source, self.served)
        self.actions.start(self.environment())
        if self.actions.node and self.actions.node != shutil.which("node"):
            (self.work / "bin" / "node").symlink_to(self.actions.node)  # before the one that doesn't run
        self.docker = processes.docker_answers()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more runs, and kill those under way."""
        self._stopping = True
        for _ in self._threads:
            self._queue.put(None)
        for execution in list(self._executions.values()):
            execution.kill()
        for thread in self._threads:
            thread.join(5)
        shutil.rmtree(self.work, ignore_errors=True)

    def submit(self, run: Run, attempt: Attempt) -> None:
        """Queue an attempt, after those of its concurrency group."""
        written, cancel = read_concurrency(run.workflow.data.get("concurrency"))
        context = self._context(run)
        group = interpolate(written, context)
        if not group:
            self._queue.put((run, attempt))
            return

        def go() -> None:
            if attempt.status == "pending":
                attempt.status = "queued"
            self._queue.put((run, attempt))

        member = Member(attempt, go, lambda why: self.cancel(run, why=why))
        with self.runs.lock:
            attempt.group, attempt.status = group, "pending"
            self._groups.enter(
                run.repository.full_name,
                group,
                member,
                cancel_in_progress=interpolate(to_text(cancel), context) == "true",
            )

    def ended(self, owner: object) -> None:
        """Let the next member of a group start: a job or an attempt has ended. Call it holding the lock of `Runs`."""
        self._groups.leave(owner)

    def cancel(self, run: Run, *, why: str = "", force: bool = False) -> None:
        """Ask the run to stop; its `if: always()` steps still run, unless forced. `why` goes into annotations."""
        with self.runs.lock:
            attempt = run.attempt
            if why and not attempt.cancel_requested:
                attempt.why_cancelled = why
                for job in attempt.jobs:
                    if job.status != "completed":
                        job.annotate(Annotation("failure", why), -2)
            attempt.cancel_requested = True
            execution = self._executions.get(run.id)
            if execution is None and attempt.status in ("queued", "pending"):
                if why and not attempt.jobs:
                    self.runs.add_waiting(run, attempt)
                self.runs.end(run, attempt, "cancelled")
        if execution is not None:
            execution.cancel(0.0 if force else self.config.cancel_grace)

    def _context(self, run: Run) -> dict[str, object]:
        github = {
            "event": run.payload,
            "event_name": run.event,
            "ref": run.ref,
            "ref_name": run.branch,
            "sha": run.sha,
            "repository": run.repository.full_name,
            "repository_owner": run.repository.owner,
            "workflow": run.workflow.name,
            "run_id": run.id,
            "run_number": run.number,
            "run_attempt": run.attempt.number,
            "actor": run.actor,
            "triggering_actor": run.attempt.actor,
        }
        return {"github": github, "inputs": run.payload.get("inputs") or {}, "vars": self.config.variables}

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            run, attempt = task
            with self._slot():
                try:
                    self._execute(run, attempt)
                except Exception:
                    logger.exception("run %s broke the runner", run.id)
                    self._start_failed(run, attempt, "The local GitHub's runner broke; its log says more.")

    @contextmanager
    def _slot(self) -> Iterator[None]:
        # A fault may allow fewer runs at a time than there are threads.
        def free() -> bool:
            limit = self.faults.runners["limit"]
            return self._stopping or limit is None or self._busy < limit

        with self._slots:
            while not self._slots.wait_for(free, timeout=0.1):  # seconds: a new limit wakes no one
                continue
            self._busy += 1
        try:
            yield
        finally:
            with self._slots:
                self._busy -= 1
                self._slots.notify_all()

    def _execute(self, run: Run, attempt: Attempt) -> None:
        if attempt.status != "queued" or self._stopping:
            return  # cancelled while it waited
        if self.faults.never_starts():
            self.runs.never_started(run, attempt, self.faults.runners["reason"])
            return
        if self.act is None:
            self._start_failed(run, attempt, "act, which would run it, is not installed.")
            return
        home = self.work / "runs" / f"{run.id}-{attempt.number}"
        try:
            compiled = self._prepare(run, home)
        except WorkflowError as error:
            self._start_failed(run, attempt, f'error parsing called workflow "{run.workflow.path}" -> {error}')
            return
        execution = Execution(self, run, attempt, compiled, home)
        with self.runs.lock:
            # Under the lock, as in `cancel`: a request is either seen here, or finds the execution.
            if attempt.cancel_requested:
                self.runs.end(run, attempt, "cancelled")
                return
            execution.start()
            self._executions[run.id] = execution
        try:
            execution.follow()
        finally:
            with self.runs.lock:
                del self._executions[run.id]
        self._finish(run, attempt, execution)
        for leftover in ("cache", "tree", "served"):
            shutil.rmtree(home / leftover, ignore_errors=True)

    def _prepare(self, run: Run, home: Path) -> Compiled:
        tree = home / "tree"
        tree.mkdir(parents=True)
        self.artifacts(home).mkdir(parents=True)
        (home / "event.json").write_text(json.dumps(run.payload), encoding="utf-8")
        if run.workflow.needs_tree:
            run.repository.copy_tree(tree, run.workflow.folders)
        compiled = Compiler(tree, self.actions, docker=self.docker).run(run.workflow)
        for path, text in compiled.files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text, encoding="utf-8")
        # As much of a git repository as act reads: which repository, branch and commit this is.
        git = tree / ".git"
        (git / "objects").mkdir(parents=True)
        (git / "HEAD").write_text(f"ref: {run.ref}\n")
        (git / run.ref).parent.mkdir(parents=True)
        (git / run.ref).write_text(run.sha + "\n")
        remote = f'[remote "origin"]\n\turl = https://github.com/{run.repository.full_name}.git\n'
        (git / "config").write_text(f"[core]\n\trepositoryformatversion = 0\n\tbare = false\n{remote}")
        return compiled

    def command(self, run: Run, attempt: Attempt, compiled: Compiled, home: Path) -> list[str]:
        caches = self.config.state_dir / "caches" / run.repository.full_name.replace("/", "+")
        given = {
            "GITHUB_RUN_ID": run.id,
            "GITHUB_RUN_NUMBER": run.number,
            "GITHUB_RUN_ATTEMPT": attempt.number,
            "GITHUB_API_URL": self.config.base_url,
            "GITHUB_SERVER_URL": self.config.base_url,
            "GITHUB_GRAPHQL_URL": f"{self.config.base_url}/graphql",
            "GITHUB_ACTOR_ID": user_id(run.actor),
            "GITHUB_TRIGGERING_ACTOR": attempt.actor,
            "GITHUB_REPOSITORY_ID": run.repository.id,
            "GITHUB_REPOSITORY_OWNER_ID": user_id(run.repository.owner),
            "GITHUB_REF_PROTECTED": "false",
            "GITHUB_WORKFLOW_REF": f"{run.repository.full_name}/{run.workflow.path}@{run.ref}",
            "GITHUB_WORKFLOW_SHA": run.sha,
            "RUNNER_NAME": "local act",
            "RUNNER_ENVIRONMENT": "self-hosted",
            "GITHUB_RETENTION_DAYS": 90,
            "LOCAL_GITHUB_ARTIFACTS": self.artifacts(home),
            "LOCAL_GITHUB_CACHES": caches,
            "LOCAL_GITHUB_TREE": home / "tree",
            "LOCAL_GITHUB_SOURCE": self.config.actions_source,
            "LOCAL_GITHUB_PYTHON": self.work / "bin" / "python3",
        }
        none = str(home / "none")  # act would read .env and the like of the tree
        command = [
            self.act or "act",
            run.event,
            "-C",
            str(home / "tree"),
            "-W",
            MAIN_FILE,
            "-e",
            str(home / "event.json"),
            "--json",
            "--insecure-secrets",  # we mask them ourselves: act would mask in our own lines and paths as well
            # act's own limit must not hold up a job that may go on.
            "--concurrent-jobs",
            "64",
            "--pull=false",
            "--no-cache-server",
            "--no-recurse",
            "--actor",
            run.actor,
            "--action-cache-path",
            str(home / "cache"),
            "--env-file",
            none,
            "--secret-file",
            str(home / "secrets.yml"),
            "--var-file",
            str(home / "vars.yml"),
            "--input-file",
            none,
        ]
        command += ["-P", f"{LABEL}=-self-hosted"]
        for name, folder in sorted(compiled.actions.items()):
            command += ["--local-repository", f"{name}={folder}"]
        for variable, value in given.items():
            command += ["--env", f"{variable}={value}"]
        return command

    def environment(self) -> dict[str, str]:
        # Nothing else of our own environment, which holds the platform's secrets.
        path = f"{self.work / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"PATH": path, "HOME": str(self.work / "home"), "LANG": "C.UTF-8"}

    def wait_for_group(self, run: Run, job: Job, group: str, *, cancel: bool, go: Callable[[], None]) -> None:
        """Let a job join its group; `go` is called when it may begin. Call it holding the lock of `Runs`."""
        execution = self._executions[run.id]

        def stop(why: str) -> None:
            execution.stop_job(job, why)

        # As on GitHub: the job would wait for its own run to end.
        if run.attempt.group.lower() == group.lower():
            stop(
                f"Canceling since a deadlock for concurrency group '{group}' was detected between "
                f"'top level workflow' and '{job.name}'"
            )
        else:
            job.status = "pending"
            self._groups.enter(run.repository.full_name, group, Member(job, go, stop), cancel_in_progress=cancel)

    def artifacts(self, home: Path) -> Path:
        return self.config.state_dir / "artifacts" / home.name

    def collect(self, run: Run, home: Path) -> None:
        """Register the artifacts that a run has stored so far."""
        for facts_file in sorted(self.artifacts(home).glob("*.json")):
            facts = json.loads(facts_file.read_text(encoding="utf-8"))
            self.runs.keep_artifact(run, facts, facts_file.with_suffix(".bin"))

    def _finish(self, run: Run, attempt: Attempt, execution: "Execution") -> None:
        log, code = execution.log, execution.code
        said = [line for line in log.plain if line.startswith("Error: ") and not line.endswith("failed")]
        if not log.started and code != 0 and not attempt.cancel_requested:
            self._start_failed(run, attempt, " ".join(said or log.plain))
            return
        with self.runs.lock:
            inputs = {"inputs": run.payload.get("inputs") or {}}
            for compiled in execution.compiled.unseen({job.key[0] for job in attempt.jobs}):
                name = " / ".join([*compiled.path[:-1], interpolate(compiled.plan.name, inputs)])
                job = Job(("/".join(compiled.path), "{}"), name, compiled.plan, attempt.number)
                self.runs.add_job(run, attempt, job)
                if len(compiled.path) > 1 or compiled.plan.body.get("needs"):
                    self.runs.end_job(run, attempt, job, "skipped")
            # A job under continue-on-error does not fail its run.
            soft = {job.plan.key for job in execution.compiled.jobs.values() if job.plan.body.get("continue-on-error")}
            bad = {job.conclusion for job in attempt.jobs if job.plan is None or job.plan.key not in soft}
            if attempt.cancel_requested and (code != 0 or "cancelled" in bad):
                conclusion = "cancelled"
            elif "cancelled" in bad and "failure" not in bad:
                conclusion = "cancelled"  # a job that took too long, or that its group ended
            elif code == 0:
                conclusion = "success" if log.started else "skipped"
            else:
                conclusion = "failure"
                if "failure" not in bad:  # act broke off without saying where
                    for job in attempt.jobs:
                        if job.status != "completed":
                            self.runs.start_job(run, attempt, job)
                            log.tell(job, " ".join(said) or "The local GitHub's runner broke off.")
                            self.runs.end_job(run, attempt, job, "failure")
            self.runs.end(run, attempt, conclusion)

    def _start_failed(self, run: Run, attempt: Attempt, why: str) -> None:
        logger.warning("run %s could not start: %s", run.id, why)
        with self.runs.lock:
            attempt.problem = why
            attempt.jobs.clear()
            self.runs.end(run, attempt, "startup_failure")


class Execution:
    """One attempt, executed by act."""

    def __init__(self, runner: Runner, run: Run, attempt: Attempt, compiled: Compiled, home: Path) -> None:
        self.runner, self.run, self.attempt, self.compiled, self.home = runner, run, attempt, compiled, home
        self.token = runner.auth.mint(JOB_PERMISSIONS, [run.repository.full_name])
        self.secrets = runner.config.secrets | {"GITHUB_TOKEN": self.token.text}
        self.log = ActLog(
            runner.runs, run, attempt, compiled, masks([*self.secrets.values()]), self._ready, self.stop_job
        )
        self.code = 0
        self._places: dict[int, Path] = {}  # the RUNNER_TEMP of each job
        self._timers: list[threading.Timer] = []

    def start(self) -> None:
        # In files that only we may read: every user of the machine sees command lines.
        for name, values in {"secrets.yml": self.secrets, "vars.yml": self.runner.config.variables}.items():
            (self.home / name).touch(mode=0o600)
            (self.home / name).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
        self.process = subprocess.Popen(
            self.runner.command(self.run, self.attempt, self.compiled, self.home),
            cwd=self.home,
            env=self.runner.environment(),
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in our terminal is not for act, which we end ourselves
        )

    def follow(self) -> None:
        try:
            for line in self.process.stdout or ():
                if '"jobID"' in line:
                    (self.home / "secrets.yml").unlink(missing_ok=True)  # act has read it
                # The step may have stored artifacts, which GitHub shows while the run goes on.
                if '"stepResult"' in line:
                    self.runner.collect(self.run, self.home)
                self.log.feed(line)
            self.code = self.process.wait()
        finally:
            # GITHUB_TOKEN is valid for the run only.
            self.runner.auth.revoke(self.token)
            for timer in self._timers:
                timer.cancel()
            if self.process.poll() is None:
                self.kill()
                self.process.wait()
            processes.kill_left(self.home)
            if self.process.stdout:
                self.process.stdout.close()
            (self.home / "secrets.yml").unlink(missing_ok=True)
        self.runner.collect(self.run, self.home)

    def cancel(self, grace: float) -> None:
        """Ask act to stop; kill it after so many seconds. Does not block."""
        threading.Thread(target=processes.stop, args=(self.process, grace), daemon=True).start()

    def kill(self) -> None:
        processes.kill_tree(self.process.pid)

    def stop_job(self, job: Job, why: str) -> None:
        """End one job as cancelled; its `if: always()` steps still run. Call it holding the lock of `Runs`."""
        if job.status == "completed" or job.stopped:
            return
        job.stopped = why
        self.log.tell(job, why)
        place = self._places[job.id]
        if job.status != "in_progress":  # it still waits for its group: what act does with it now shows nowhere
            self.runner.runs.end_job(self.run, self.attempt, job, "cancelled")
            self._answer(place, "cancelled")
        elif any(other.status != "completed" for other in self.attempt.jobs if other is not job):
            threading.Thread(target=self._kill_job, args=(job, place.parent), daemon=True).start()
        else:
            # No other job is left, so act may end as a whole.
            self.cancel(self.runner.config.cancel_grace)

    def _kill_job(self, job: Job, place: Path) -> None:
        """Kill the job's steps until it has ended; those that run always, only after the grace period."""
        tick = threading.Event()
        end = time.monotonic() + self.runner.config.cancel_grace
        while job.status != "completed" and self.process.poll() is None:
            with self.runner.runs.lock:
                steps = zip(job.plan.steps if job.plan else [], job.steps[1:], strict=False)
                running = [step.body for step, state in steps if state.status == "in_progress"]
            if time.monotonic() > end or any(not runs_always(body) for body in running):
                # act begins the next step when one is killed, so this goes on until the job has ended.
                processes.kill_below(self.process.pid, place)
            tick.wait(0.1)

    def _ready(self, job: Job, said: dict[str, str]) -> None:
        """Start a job whose hidden step has reported, or let it wait for its group. Holds the lock of `Runs`."""
        place = Path(said["temp"])
        self._places[job.id] = place

        def go() -> None:
            self.runner.runs.start_job(self.run, self.attempt, job)
            if said["group"]:
                self._answer(place, "")
            self._limit(job, said["minutes"])

        if said["group"]:
            self.runner.wait_for_group(self.run, job, said["group"], cancel=said["cancel"] == "true", go=go)
        else:
            go()

    def _answer(self, place: Path, text: str) -> None:
        """Let a job's hidden step end: successfully if `text` is empty."""
        with suppress(OSError):  # the job may be gone, and act's folder of it with it
            place.mkdir(parents=True, exist_ok=True)
            # Renamed when complete: the hidden step polls for the file, then reads it at once.
            draft = place / f"{GO}.draft"
            draft.write_text(text)
            draft.rename(place / GO)

    def _limit(self, job: Job, text: str) -> None:
        try:
            minutes = float(text or DEFAULT_MINUTES)
        except ValueError:
            minutes = DEFAULT_MINUTES

        def over() -> None:
            with self.runner.runs.lock:
                self.stop_job(
                    job,
                    "The job running on runner local act has exceeded the maximum execution time of "
                    f"{minutes:g} minutes.",
                )

        timer = threading.Timer(minutes * self.runner.config.minute, over)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)


def find_act() -> str | None:
    """Return the path of the act program: beside this Python, else on the PATH."""
    beside = Path(sys.executable).with_name("act")
    return str(beside) if beside.exists() else shutil.which("act")


def _wrap(file: Path, program: str) -> None:
    """Write a script that runs a program and lingers a moment when it fails.

    act closes a failed step's terminal at once, and with it goes what it has not read yet: why the step failed.
    """
    lines = f'{shlex.quote(program)} "$@" || {{ code=$?; sleep 0.2; exit $code; }}'
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o755)
