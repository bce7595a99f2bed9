"""What Apps say about commits: statuses and check runs. Those of runs' jobs are in runs.py."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .clock import iso, next_id, now
from .repositories import Repository
from .runs import Annotation


@dataclass
class Status:
    """One commit status; of each context the newest counts."""

    repository: Repository
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    creator: str  # a login
    id: int = field(default_factory=next_id)
    created_at: datetime = field(default_factory=now)


@dataclass
class CheckRun:
    """One check run that an App made."""

    repository: Repository
    app_id: int
    suite_id: int
    sha: str
    name: str
    status: str = "queued"
    conclusion: str | None = None
    details_url: str | None = None
    external_id: str = ""
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    annotations: list[Annotation] = field(default_factory=list)
    id: int = field(default_factory=next_id)
    started_at: datetime = field(default_factory=now)
    completed_at: datetime | None = None


class Outcomes:
    """All statuses and check runs that were made over the API; they last as long as the process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._statuses: list[Status] = []
        self._checks: dict[int, CheckRun] = {}
        self._suites: dict[tuple[str, int, str], int] = {}

    def add_status(self, status: Status) -> None:
        with self.lock:
            self._statuses.append(status)

    def statuses(self, repository: Repository, sha: str) -> list[Status]:
        """Return a commit's statuses, newest first."""
        with self.lock:
            return [one for one in reversed(self._statuses) if one.repository is repository and one.sha == sha]

    def suite(self, repository: Repository, app_id: int, sha: str) -> int:
        """Return the id of the one check suite that an App has on a commit."""
        with self.lock:
            return self._suites.setdefault((repository.full_name, app_id, sha), next_id())

    def add_check(self, check: CheckRun) -> None:
        with self.lock:
            self._checks[check.id] = check

    def check(self, repository: Repository, number: int) -> CheckRun | None:
        found = self._checks.get(number)
        return found if found and found.repository is repository else None

    def checks(self, repository: Repository, *, sha: str = "", suite_id: int = 0) -> list[CheckRun]:
        """Return the check runs of a commit or of a suite, newest first."""
        with self.lock:
            return [
                one
                for one in reversed(self._checks.values())
                if one.repository is repository and (one.suite_id == suite_id if suite_id else one.sha == sha)
            ]

    def recorded_statuses(self) -> list[dict[str, Any]]:
        """Return the statuses for the record of tests, oldest first."""
        return [
            {
                "repository": one.repository.full_name,
                "at": iso(one.created_at),
                **{
                    name: getattr(one, name)
                    for name in ("id", "sha", "state", "context", "description", "target_url", "creator")
                },
            }
            for one in self._copy(self._statuses)
        ]

    def recorded_checks(self) -> list[dict[str, Any]]:
        names = ("id", "app_id", "sha", "name", "status", "conclusion", "details_url", "external_id")
        return [
            {
                "repository": one.repository.full_name,
                **{name: getattr(one, name) for name in (*names, "title", "summary", "text")},
                "annotations": [vars(each) for each in one.annotations],
            }
            for one in self._copy(self._checks.values())
        ]

    def _copy(self, things: Iterable[Any]) -> list[Any]:
        with self.lock:
            return list(things)


def combined(statuses: Iterable[Status]) -> tuple[str, list[Status]]:
    """Return a commit's state as a whole and the newest status of each context."""
    newest: dict[str, Status] = {}
    for one in statuses:
        newest.setdefault(one.context.lower(), one)
    states = {one.state for one in newest.values()}
    if states & {"failure", "error"}:
        return "failure", list(newest.values())
    return ("success" if states == {"success"} else "pending"), list(newest.values())
