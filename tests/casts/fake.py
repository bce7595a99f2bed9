"""A runtime that does what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

from django.db import connection
from django.utils import timezone

from casts.models import Artifact, Cast, Spell
from casts.runtime import Annotation, ArtifactGone, Download, Failure, Job, Observation, RemoteArtifact, Run, Turn
from github_integration.models import WorkflowTarget
from github_integration.routes import ROUTE
from github_integration.runtime import WorkflowDispatch
from github_integration.words import WORDS

RUN_IDS = itertools.count(7_000_000_000)  # beyond 32 bits, as GitHub's are


def jobs_of(
    status: str, conclusion: str | None = None, *, began: dt.datetime | None = None, number: int = 1, attempt: int = 1
) -> tuple[Job, ...]:
    """Return the one job of a run in this state, on a runner since `began` (default: now) once the run has begun."""
    begun = status in ("in_progress", "completed")
    told: dict[str, Any] = {"started_at": began or timezone.now(), "runner": "runner 1"} if begun else {}
    return (Job(number, "job", status if begun else "queued", conclusion, attempt, **told),)


def depth() -> tuple[bool, int]:
    return connection.in_atomic_block, len(connection.savepoint_ids)


class FakeRuntime:
    """`answers` holds, by method, what it returns: a value, an exception to raise, a function, or a list of those."""

    target, route = WorkflowTarget, ROUTE

    def __init__(self) -> None:
        self.words = WORDS
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        self.outside = depth()  # the test's own transaction
        self.inside_transaction = False

    def closely(self, _: bool) -> None:
        """Hear how a run was looked at; a test may listen."""

    def answer(self, method: str, about: Any, default: Any) -> Any:
        self.inside_transaction |= depth() not in (self.outside, (False, 0))
        self.asked.append((method, about))
        answer = self.answers.get(method, default)
        if isinstance(answer, list) and method not in ("artifacts",):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        answer = answer(about) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.asked)

    def scope(self, spell: Spell) -> str:
        return WorkflowDispatch().scope(spell)

    def secrets(self, spell: Spell) -> set[str]:
        return WorkflowDispatch().secrets(spell)

    def described(self, spell: Spell) -> str:
        return WorkflowDispatch().described(spell)

    def refusals(self, spell: Spell, given: Any) -> list[dict[str, str]]:
        return WorkflowDispatch().refusals(spell, given)

    def book(self, cast: Cast) -> Turn:
        answer = self.answer("book", cast, timezone.now())
        return answer if isinstance(answer, Turn) else Turn(answer)

    def start(self, cast: Cast, *, before: dt.datetime) -> Run | None:
        return self.answer("start", cast, lambda _: Run(str(next(RUN_IDS)), "https://github.example/runs/1"))

    def may_own(self, cast: Cast, seen: Observation) -> bool:
        return bool(self.answers.get("may_own", True))

    def find(self, cast: Cast) -> Observation | None:
        return self.answer("find", cast, None)

    def observe(self, cast: Cast, *, closely: bool) -> Observation:
        self.closely(closely)
        return self.answer("observe", cast, lambda cast: Observation(cast.run_scope, cast.run_key, status="queued"))

    def cancel(self, cast: Cast, *, force: bool) -> None:
        self.answer("force" if force else "cancel", cast, None)

    def failure(self, cast: Cast) -> Failure:
        return self.answer("failure", cast, Failure())

    def remarks(self, cast: Cast, failure: Failure) -> tuple[Annotation, ...] | None:
        return self.answer("remarks", cast, ())

    def artifacts(self, cast: Cast) -> list[RemoteArtifact]:
        return self.answer("artifacts", cast, [])

    def download(self, artifact: Artifact) -> Download:
        chunks = self.answer("download", artifact, ArtifactGone())
        if isinstance(chunks, dict):
            chunks = chunks[artifact.name]
        if isinstance(chunks, Exception):
            raise chunks
        return Download(iter([chunks] if isinstance(chunks, bytes) else chunks))


class OtherRuntime(FakeRuntime):
    """For the other kind of spell."""
