"""One trial: a platform, a storm, callers in it; then calm, evidence and verdict."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos.callers import Callers, wishes
from tests.chaos.evidence import Evidence, collect
from tests.chaos.inbox import Inbox
from tests.chaos.installation import Installation, installation
from tests.chaos.judge import judge
from tests.chaos.report import counted, raised, report
from tests.chaos.storm import Storm

UNDER_WAY = (
    "SELECT id FROM casts_cast WHERE status IN ('queued', 'running')",
    "SELECT id FROM casts_artifact WHERE state = 'pending'",
    "SELECT id FROM casts_callback WHERE state = 'pending'",
)


@dataclass(frozen=True)
class Plan:
    """What is tried."""

    seed: int
    casts: int = 300
    concurrency: int = 20
    minutes: float = 60.0  # the storm is over after that, whatever is left to cast
    phase_without_webhooks: bool = False  # for the middle third of the casts
    kill_every: tuple[float, float] = (2.0, 6.0)  # seconds
    settle_seconds: float = 180.0
    settings: tuple[tuple[str, str], ...] = ()


@dataclass
class Verdict:
    """What came of it."""

    report: str
    violations: list[str]


def trial(plan: Plan, folder: Path, *, say: Callable[[str], None] = lambda _: None) -> Verdict:
    """Carry out a plan in a folder; what it leaves there explains the verdict."""
    inbox = Inbox(seed=plan.seed)
    settings: dict[str, Any] = dict(plan.settings)
    with contextlib.closing(inbox), installation(folder, **settings) as where:
        inbox.start(where.call("GET", "/api/v1/callbacks/secret").json()["secret"])
        storm = Storm(where, seed=plan.seed, kill_every=plan.kill_every)
        todo = list(wishes(plan.casts, seed=plan.seed, callback_url=inbox.url))
        until = time.monotonic() + plan.minutes * 60
        callers = Callers(where, todo, concurrency=plan.concurrency, until=until)
        began = time.monotonic()
        storm.begin()
        try:
            callers.start()
            watch_over(callers, storm, plan, say)
        finally:
            storm.end()
        calm = time.monotonic()
        say(f"The storm is over after {calm - began:.0f} s; waiting for what is under way.")
        callers.join()
        settled = waited(lambda: quiet(where), seconds=plan.settle_seconds)
        for follower in callers.followers:
            follower.join(max(0.0, 20 if settled else 1))
            follower.give_up()
        quiet_seconds = time.monotonic() - calm
        evidence = collect(where, callers.done, [follower.watch for follower in callers.followers], inbox)
    violations = [f"the storm itself broke: {error!r}" for error in storm.errors] + judge(evidence)
    keep(folder, evidence)
    text = report(evidence, storm, callers, storm_seconds=calm - began, quiet_seconds=quiet_seconds)
    return Verdict(f"{text}\nin the logs    {counted(raised(folder))}", violations)


def watch_over(callers: Callers, storm: Storm, plan: Plan, say: Callable[[str], None]) -> None:
    """Return when everything has been cast, though not ended; switch the webhooks off and on meanwhile."""
    third = plan.casts // 3
    told = 0.0
    while callers.busy() and len(callers.done) < plan.casts and time.monotonic() < callers.until:
        deaf = plan.phase_without_webhooks and third <= len(callers.done) < 2 * third
        if deaf != storm.deaf:
            storm.silence(deaf)
            say(f"{len(callers.done)} cast; from now on {'no webhook arrives' if deaf else 'webhooks arrive again'}.")
        if time.monotonic() > told + 15:
            told = time.monotonic()
            say(f"{len(callers.done)} cast, {sum(storm.kills.values())} kills.")
        time.sleep(0.1)


def waited(what: Callable[[], bool], *, seconds: float, every: float = 0.5) -> bool:
    """Return whether `what()` came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(every)
    return False


def quiet(where: Installation) -> bool:
    """Whether nothing is under way: no cast, no copy, no callback, no run."""
    if any(where.rows(query) for query in UNDER_WAY):
        return False
    return all(run["status"] == "completed" for run in where.record()["runs"])


def keep(folder: Path, evidence: Evidence) -> None:
    """Write the evidence down beside the logs."""
    plain: dict[str, Any] = asdict(evidence)
    (folder / "evidence.json").write_text(json.dumps(plain, default=str, indent=1))
