"""What a cast's step asks of the runtime that runs its spell, and what it is told.

`settings.SPELL_RUNTIMES` names the implementation for each kind of spell, the way Django names its backends; `casts`
knows none of them. Everything learnt about a run, from a webhook or by asking, arrives as an `Observation`, and texts
about a runtime are its own `Words`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from casts.models import Artifact, Cast, Spell, SpellTarget


@dataclass(frozen=True)
class JobStep:
    """One step of a job. `status`: queued, in_progress, completed."""

    name: str
    number: int
    status: str
    conclusion: str | None = None
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None


@dataclass(frozen=True)
class Job:
    """One job of a run, in one attempt. Neither `status` nor `started_at` says that it began: see `folding`."""

    id: int
    name: str
    status: str
    conclusion: str | None = None
    attempt: int = 1
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None
    url: str = ""
    steps: tuple[JobStep, ...] = ()
    runner: str = ""  # the machine it was given to; blank while it waits for one


@dataclass(frozen=True)
class Observation:
    """What we learnt about a run at one moment. Times are the runtime's, perhaps with a resolution of one second.

    `run_key` is the run's id, unique within `run_scope`; both are text, whatever the runtime makes of them.
    `title` carries the `[cast:<id>]` tag if the workflow's run-name does. `jobs` is None when the message said
    nothing about jobs. `status` is None when it was about jobs only. `run_started_at` is when the attempt was made,
    not when anything of it began. `trigger`, `workflow` (its file), `actor` (who started it), `made_at` and `remarks`
    (by which the runtime finds what was remarked on its jobs) are blank when the message didn't tell.
    """

    run_scope: str
    run_key: str
    attempt: int = 1
    status: str | None = None
    conclusion: str | None = None
    title: str = ""
    url: str = ""
    run_started_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    jobs: tuple[Job, ...] | None = None
    trigger: str = ""
    workflow: str = ""
    actor: str = ""
    made_at: dt.datetime | None = None
    remarks: str = ""


@dataclass(frozen=True)
class Run:
    """A run that a dispatch started, or that was found to carry a cast's tag. `key`: its id within its scope."""

    key: str
    url: str = ""


@dataclass(frozen=True)
class RemoteArtifact:
    """One artifact as the runtime lists it."""

    id: int
    name: str
    size_bytes: int
    digest: str = ""  # "sha256:<hex>", blank if not known
    expired: bool = False
    made_at: dt.datetime | None = None


@dataclass
class Download:
    """An artifact's bytes on their way: to be read once, then closed."""

    chunks: Iterator[bytes]
    content_type: str = ""


@dataclass(frozen=True)
class Annotation:
    """What a step, or who runs it, said by itself about what went wrong. `level`: error, warning, notice."""

    message: str
    level: str = "error"
    title: str = ""
    file: str = ""
    line: int | None = None
    job: str = ""  # on which it was said, where that is not known otherwise


@dataclass(frozen=True)
class Failure:
    """Why a run failed or was cut off, as far as its jobs, their annotations and the log tell.

    `heard`: all that was remarked on the jobs that were asked about, by their ids; None: that may not be known.
    """

    job: str = ""
    step: str = ""
    log_tail: tuple[str, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    timed_out: bool = False  # a job was ended because it reached its own time limit
    heard: Mapping[int, tuple[Annotation, ...] | None] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Route:
    """What several casts are sent through, and may be held up by together: an account, an access."""

    of_casts: Callable[[], Any]  # an expression for a query of casts
    parameter: str  # of the filter in the operators' list of casts
    said: Callable[[str], str]  # the text that names one


@dataclass(frozen=True)
class Words:
    """The texts in which people read about a runtime. Names in braces are filled in with `str.format`."""

    name: str

    # Messages of a cast.
    sent: str
    waiting_for_turn: str  # {at}: a time of day, UTC
    refused: str  # {why}
    answer_lost: str
    waiting_for_approval: str
    running: str
    corrected: str  # the answer named another run than the one that was taken for the cast's
    cancelling: str
    forcing: str
    no_run_appeared: str  # after a dispatch that was accepted; {run_tag}
    lost: str  # no run appeared either, after a dispatch whose answer was lost
    deleted: str
    gone: str  # deleted between its end and our asking what it left
    jobs_outstanding: str
    ended_as: str  # {conclusion}
    never_ran: str
    own_limit: str
    cancelled: str  # by somebody else
    # In place of messages that may quote the runtime, where a spell does not show its runs; by status_reason.
    without_run: Mapping[str, str]

    # Of artifacts, and on the progress page.
    artifact_gone: str
    artifact_pending: str  # {name}
    copying: str
    not_copied: str
    open_run: str

    # For operators: what can be done about casts that wait, by status_reason, and about other trouble.
    remedies: Mapping[str, str]
    no_runner: str
    refused_every_time: str  # {spell}
    artifact_failed: str
    artifact_trouble: str

    # Steps that it adds to every job by itself, and what it puts before an author's step's name for those beside it.
    own_steps: frozenset[str] = frozenset()
    beside_a_step: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """When a cast may be started: the time is kept for it, unless it has only a `place` in line, to ask again with."""

    at: dt.datetime
    place: dt.datetime | None = None

    @property
    def kept_at(self) -> dt.datetime | None:
        return self.at if self.place is None else None


class DispatchRefused(Exception):
    """The dispatch was refused for good; str() is the runtime's own message. Nothing started."""


class NotNow(Exception):
    """The runtime can't be asked now, and did nothing. Come back at `retry_at`; str() says why.

    A blank `reason` means that nobody needs to be told: it is a matter of seconds, or of saving requests.
    """

    def __init__(
        self, message: str, *, retry_at: dt.datetime | None = None, reason: str = "waiting_for_github"
    ) -> None:
        super().__init__(message)
        self.retry_at = retry_at
        self.reason = reason


class AccessLost(NotNow):
    """The runtime may never again be asked about this cast: whoever allowed it has withdrawn that."""


class OutcomeUnknown(Exception):
    """The dispatch may or may not have started a run; only looking can tell."""


class RunGone(Exception):
    """The runtime no longer knows this run."""


class ArtifactGone(Exception):
    """The runtime no longer has this artifact."""


class Runtime(Protocol):
    """How spells of one kind are run. Any method may raise NotNow; none is called inside a transaction."""

    @property
    def words(self) -> Words:
        """The texts that people read about this runtime."""

    @property
    def target(self) -> type[SpellTarget] | None:
        """The model of where a spell is run, None if it needs none."""

    @property
    def route(self) -> Route | None:
        """What several casts are sent through, and may be held up by together; None if nothing is shared."""

    def scope(self, spell: Spell) -> str:
        """Return the place within which the ids of the spell's runs are unique; kept with each cast."""

    def secrets(self, spell: Spell) -> set[str]:
        """Return what callers may not read anywhere if the spell does not show its runs."""

    def described(self, spell: Spell) -> str:
        """Return in a few words, for operators, what a cast of this spell starts."""

    def refusals(self, spell: Spell, given: Any) -> list[dict[str, str]]:
        """Return why the runtime would not take this input, which fits the spell's schema; `pointer` and `detail` each.

        Asks nobody. Raise InputTooLarge for more than can be handed over.
        """

    def book(self, cast: Cast) -> Turn:
        """Return when this cast, whose place in line is `line_at`, may be started. Raise NotNow, with nothing kept."""

    def start(self, cast: Cast, *, before: dt.datetime) -> Run | None:
        """Start a run; return it if the answer names it. Raise DispatchRefused, NotNow or OutcomeUnknown.

        Nothing is sent after `before`: by then somebody else may have taken over.
        """

    def may_own(self, cast: Cast, seen: Observation) -> bool:
        """Whether a run that nobody named may be the cast's, by its workflow, who started it, and when.

        The exception to the rule above: asks our database alone, and may be called inside a transaction.
        """

    def find(self, cast: Cast) -> Observation | None:
        """Return the run that carries the cast's tag, or None if every run since its dispatch was seen and none does.

        Raise NotNow while nobody knows.
        """

    def observe(self, cast: Cast, *, closely: bool) -> Observation:
        """Look at the cast's run; `closely`: as it is at this moment, with its jobs, of earlier attempts too.

        Raise RunGone. A runtime that knows no jobs leaves them None; then its conclusion alone says whether it ran.
        """

    def cancel(self, cast: Cast, *, force: bool) -> None:
        """Ask for the run to be cancelled; a run that has already ended is no error. Raise RunGone."""

    def failure(self, cast: Cast) -> Failure:
        """Return what the jobs and the log of a run that failed, or that somebody else cancelled, say."""

    def remarks(self, cast: Cast, failure: Failure) -> tuple[Annotation, ...] | None:
        """Return what was remarked on the jobs of a run that has ended, each with its job; None: not to be known.

        Once, at the cast's end, which is not kept waiting for it: little is asked, and nothing twice. `failure`: what
        was told before.
        """

    def artifacts(self, cast: Cast) -> list[RemoteArtifact]:
        """List the artifacts that count after the cast's attempt, one of each name."""

    def download(self, artifact: Artifact) -> Download:
        """Begin reading one artifact as it is stored. Raise ArtifactGone."""


@cache
def _instance(path: str) -> Runtime:
    runtime: Runtime = import_string(path)()
    return runtime


def runtime_of(cast: Cast) -> Runtime:
    return runtime_for(cast.spell.runtime)


def runtime_for(kind: str) -> Runtime:
    return _instance(settings.SPELL_RUNTIMES[kind])


def runtimes() -> list[tuple[str, Runtime]]:
    return [(kind, runtime_for(kind)) for kind in settings.SPELL_RUNTIMES]


def target_relations(prefix: str = "") -> list[str]:
    """Return the relations for `select_related` that lead from a spell to where it is run."""
    targets = {runtime.target for _, runtime in runtimes()}
    return sorted(f"{prefix}{target.relation()}" for target in targets if target is not None)


def words_of(cast: Cast) -> Words:
    return runtime_of(cast).words
