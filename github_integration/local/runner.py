import json
import logging
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .actlog import ActLog
from .config import Config
from .faults import Faults
from .runs import Attempt, Job, Run, Runs

logger = logging.getLogger(__name__)
CANCEL_GRACE = 5.0  # seconds for `if: always()` steps after a cancel; GitHub allows five minutes
COMMON_LABELS = {"ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04"}  # a matrix may name them
FOREIGN = ("windows", "macos")  # runners that this machine can't stand in for
UPLOAD_ACTION = Path(__file__).parent / "upload_artifact"
_UPLOAD = re.compile(r"actions/upload-artifact@([\w.\-]+)")


class Runner:
    """A few threads that take queued runs and execute them with act."""

    def __init__(self, config: Config, runs: Runs, faults: Faults) -> None:
        self.config, self.runs, self.faults = config, runs, faults
        self.act = find_act()
        self._queue: queue.SimpleQueue[tuple[Run, Attempt] | None] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._slots = threading.Condition()
        self._busy = 0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"runner-{number}", daemon=True)
            for number in range(config.concurrency)
        ]

    def start(self) -> None:
        """Begin to take runs."""
        home = self.config.state_dir
        shutil.rmtree(home / "runs", ignore_errors=True)  # ours, left by an earlier process
        (home / "home").mkdir(parents=True, exist_ok=True)
        (home / "bin").mkdir(exist_ok=True)
        # Without the platform's virtual environment: a run must not see our packages.
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        for name, program in {"python3": python, "bash": shutil.which("bash"), "sh": shutil.which("sh")}.items():
            _wrap(home / "bin" / name, program or name)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more runs and kill those that go on."""
        self._stopping = True
        for _ in self._threads:
            self._queue.put(None)
        for process in list(self._processes.values()):
            kill_tree(process.pid)

    def submit(self, run: Run, attempt: Attempt) -> None:
        """Queue an attempt."""
        self._queue.put((run, attempt))

    def cancel(self, run: Run, *, force: bool = False) -> None:
        """Ask the run to stop; its `if: always()` steps still run, unless forced."""
        with self.runs.lock:
            attempt = run.attempt
            attempt.cancel_requested = True
            process = self._processes.get(run.id)
            if process is None and attempt.status == "queued":
                self.runs.end(run, attempt, "cancelled")
        if process is not None:
            threading.Thread(target=_stop, args=(process, 0.0 if force else CANCEL_GRACE), daemon=True).start()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            run, attempt = task
            with self._slot():
                try:
                    self._execute(run, attempt)
                except Exception:
                    logger.exception("run %s broke the runner", run.id)
                    self._start_failed(run, attempt)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Hold one of the runners that a fault may have made few."""

        def free() -> bool:
            limit = self.faults.runners["limit"]
            return self._stopping or limit is None or self._busy < limit

        with self._slots:
            while not self._slots.wait_for(free, timeout=0.1):  # seconds: nobody tells us of a new limit
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
        home = self.config.state_dir / "runs" / f"{run.id}-{attempt.number}"
        self._prepare(run, home)
        log = ActLog(self.runs, run, attempt)
        with self.runs.lock:
            if attempt.cancel_requested:
                self.runs.end(run, attempt, "cancelled")
                return
            process = subprocess.Popen(
                self._command(run, attempt, home),
                cwd=home,
                env=self._environment(),
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._processes[run.id] = process
        try:
            for line in process.stdout or ():
                if '"stepResult"' in line:
                    self._collect(run, home)
                log.feed(line)
            code = process.wait()
        finally:
            with self.runs.lock:
                del self._processes[run.id]
            if process.poll() is None:
                kill_tree(process.pid)
            if process.stdout:
                process.stdout.close()
        self._collect(run, home)
        self._finish(run, attempt, log, code)
        for leftover in ("cache", "tree"):
            shutil.rmtree(home / leftover, ignore_errors=True)

    def _prepare(self, run: Run, home: Path) -> None:
        tree = home / "tree"
        (home / "artifacts").mkdir(parents=True)
        (home / "event.json").write_text(json.dumps(run.payload), encoding="utf-8")
        tree.mkdir()
        if run.workflow.needs_tree:
            run.repository.copy_tree(tree)
        file = tree / run.workflow.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(run.workflow.text, encoding="utf-8")
        # As much of a git repository as act reads: which repository, branch and commit this is.
        git = tree / ".git"
        (git / "objects").mkdir(parents=True)
        (git / "HEAD").write_text(f"ref: {run.ref}\n")
        (git / run.ref).parent.mkdir(parents=True)
        (git / run.ref).write_text(run.sha + "\n")
        remote = f'[remote "origin"]\n\turl = https://github.com/{run.repository.full_name}.git\n'
        (git / "config").write_text(f"[core]\n\trepositoryformatversion = 0\n\tbare = false\n{remote}")

    def _command(self, run: Run, attempt: Attempt, home: Path) -> list[str]:
        given = {
            "GITHUB_RUN_ID": run.id,
            "GITHUB_RUN_NUMBER": run.number,
            "GITHUB_RUN_ATTEMPT": attempt.number,
            "GITHUB_API_URL": self.config.base_url,
            "GITHUB_SERVER_URL": self.config.base_url,
            "GITHUB_RETENTION_DAYS": 90,
            "LOCAL_GITHUB_ARTIFACTS": home / "artifacts",
            "LOCAL_GITHUB_PYTHON": self.config.state_dir / "bin" / "python3",
        }
        none = str(home / "none")  # act would read .env, .secrets and the like of the tree
        command = [
            self.act or "act",
            run.event,
            "-C",
            str(home / "tree"),
            "-W",
            run.workflow.path,
            "-e",
            str(home / "event.json"),
            "--json",
            "--pull=false",
            "--no-cache-server",
            "--no-recurse",
            "--actor",
            attempt.actor,
            "--action-cache-path",
            str(home / "cache"),
            "--env-file",
            none,
            "--secret-file",
            none,
            "--var-file",
            none,
            "--input-file",
            none,
        ]
        labels = {label for job in run.workflow.jobs for label in job.labels if not label.startswith(FOREIGN)}
        for label in sorted(labels | COMMON_LABELS):
            command += ["-P", f"{label}=-self-hosted"]
        for version in sorted(set(_UPLOAD.findall(run.workflow.text))):
            command += ["--local-repository", f"actions/upload-artifact@{version}={UPLOAD_ACTION}"]
        for name, value in given.items():
            command += ["--env", f"{name}={value}"]
        return command

    def _environment(self) -> dict[str, str]:
        """Nothing of the platform's own environment, which holds its secrets."""
        home = self.config.state_dir
        path = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"PATH": path, "HOME": str(home / "home"), "LANG": "C.UTF-8"}

    def _collect(self, run: Run, home: Path) -> None:
        for facts_file in sorted((home / "artifacts").glob("*.json")):
            self.runs.keep_artifact(run, json.loads(facts_file.read_text()), facts_file.with_suffix(".bin"))

    def _finish(self, run: Run, attempt: Attempt, log: ActLog, code: int) -> None:
        if not log.started and code != 0 and not attempt.cancel_requested:
            logger.warning("run %s could not start: %s", run.id, " | ".join(log.plain))
            self._start_failed(run, attempt)
            return
        with self.runs.lock:
            seen = {job.key[0] for job in attempt.jobs}
            for plan in run.workflow.jobs:
                if plan.key not in seen:
                    self.runs.add_job(run, attempt, Job((plan.key, "{}"), plan.name, plan, attempt.number))
            if attempt.cancel_requested and (code != 0 or any(job.conclusion == "cancelled" for job in attempt.jobs)):
                conclusion = "cancelled"
            elif code == 0 and not log.refused:
                conclusion = "success" if log.started else "skipped"
            else:
                conclusion = "failure"
            self.runs.end(run, attempt, conclusion)

    def _start_failed(self, run: Run, attempt: Attempt) -> None:
        with self.runs.lock:
            attempt.jobs.clear()
            self.runs.end(run, attempt, "startup_failure")


def find_act() -> str | None:
    """Return the path of the act program: beside this Python, else on the PATH."""
    beside = Path(sys.executable).with_name("act")
    return str(beside) if beside.exists() else shutil.which("act")


def _wrap(file: Path, program: str) -> None:
    """Write a script that runs a program and lingers a moment when it fails.

    act closes a failed step's terminal at once, and with it goes what it has not read yet: why the step failed.
    """
    file.unlink(missing_ok=True)
    lines = f'{shlex.quote(program)} "$@" || {{ code=$?; sleep 0.2; exit $code; }}'
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o755)


def kill_tree(pid: int) -> None:
    """Kill a process and all below it; act gives each step a process group of its own."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    parents = [(int(child), int(parent)) for child, parent in (line.split() for line in listing.splitlines())]
    doomed = [pid]
    for one in doomed:
        doomed += [child for child, parent in parents if parent == one]
    for one in doomed:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _stop(process: "subprocess.Popen[str]", grace: float) -> None:
    if grace:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(grace)
            return
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        kill_tree(process.pid)
