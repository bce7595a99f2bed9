"""One list of a repository's newest runs for all casts that look at theirs or search for it, in whatever process.

A list of a hundred runs costs GitHub's limit what one run costs. So it is asked for by whoever needs it first, kept in
a row, and read by everybody else while it is fresh; the ETag makes it free where nothing has changed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone

from casts.lifecycle import moves
from casts.models import OPEN, Cast
from casts.runtime import NotNow, Observation
from github_integration import quota, wire
from github_integration.client import github
from github_integration.models import RecentRuns

FRESH = dt.timedelta(seconds=3)  # so old a list may be
SEARCH_PAGES = 5  # of a hundred runs each
ASKING = dt.timedelta(seconds=8)  # for one page; so long nobody else asks, should whoever does have died
SOON = dt.timedelta(seconds=0.5)
# What is kept of a run: what `wire.run_seen` reads.
KEPT = (
    *("id", "run_attempt", "status", "conclusion", "display_title", "event", "path", "html_url"),
    *("run_started_at", "created_at", "updated_at"),
)


@dataclass(frozen=True)
class Listed:
    """The newest runs of one kind, newest first, and how far back they go (None: all there are)."""

    runs: tuple[Observation, ...]
    reaches_to: dt.datetime | None

    def reaches(self, since: dt.datetime | None) -> bool:
        """Whether every run made since then is in it."""
        return since is None or self.reaches_to is None or self.reaches_to < since


def runs(
    installation: int,
    repository: str,
    event: str,
    *,
    since: dt.datetime | None = None,
    newer_than: dt.datetime | None = None,
) -> Listed:
    """Return the newest runs, asked for after `newer_than` and a few seconds ago at most.

    They go back to `since`, or five hundred runs. Raise NotNow while somebody else asks for them or requests must be
    spared, and what asking GitHub raises.
    """
    row, _ = RecentRuns.objects.get_or_create(installation=installation, repository=repository.lower(), event=event)
    if (kept := _usable(row, since, newer_than)) is not None:
        return kept
    now = timezone.now()
    this = RecentRuns.objects.filter(pk=row.pk)
    free = this.filter(Q(asking_until=None) | Q(asking_until__lte=now), listed_at=row.listed_at)
    if not free.update(asking_until=now + ASKING):
        row.refresh_from_db()  # somebody was faster
        if (kept := _usable(row, since, newer_than)) is not None:
            return kept
        raise NotNow("Somebody else is asking for the same list.", retry_at=now + SOON, reason="")
    try:
        found, reaches_to = _ask(installation, repository, event, since, going_on=this)
        # Whoever took so long that somebody else has asked meanwhile has the older list.
        older = this.filter(Q(listed_at=None) | Q(listed_at__lt=now))
        older.update(runs=found, listed_at=now, reaches_to=reaches_to)
    finally:
        this.update(asking_until=None)
    _wake_ended(repository, found)
    return _listed(repository, found, reaches_to)


def _usable(row: RecentRuns, since: dt.datetime | None, newer_than: dt.datetime | None) -> Listed | None:
    oldest = max(timezone.now() - FRESH, newer_than or timezone.now() - FRESH)
    if row.listed_at is None or row.listed_at < oldest:
        return None
    kept = _listed(row.repository, row.runs, row.reaches_to)
    return kept if kept.reaches(since) or len(row.runs) >= SEARCH_PAGES * 100 else None


def _listed(repository: str, found: list[wire.JSON], reaches_to: dt.datetime | None) -> Listed:
    return Listed(tuple(wire.run_seen(repository, run) for run in found), reaches_to)


def _ask(
    installation: int, repository: str, event: str, since: dt.datetime | None, *, going_on: QuerySet[RecentRuns]
) -> tuple[list[wire.JSON], dt.datetime | None]:
    """Ask for as many pages as are needed; return what is kept of the runs, and how far back they go."""
    found: list[wire.JSON] = []
    for page in range(1, SEARCH_PAGES + 1):
        quota.spend(installation)
        if page > 1:
            going_on.update(asking_until=timezone.now() + ASKING)
        told = github().runs(installation, repository, event=event, page=page)
        found += [_kept(run) for run in told]
        made = [at for run in told if (at := wire.moment(run.get("created_at"))) is not None]
        if len(told) < 100 or not made:
            return found, None
        if since is None or min(made) < since:
            break
    return found, min(made)


def _kept(run: wire.JSON) -> wire.JSON:
    kept = {name: wire.plain(value) if isinstance(value := run.get(name), str) else value for name in KEPT}
    return kept | {"actor": {"login": wire.login_of(run.get("actor"))}}


def _wake_ended(repository: str, found: list[wire.JSON]) -> None:
    """Have the casts looked at whose runs have ended, as the list says, and who don't know it yet."""
    ended = [run["id"] for run in found if run.get("status") == "completed"]
    unaware = Cast.objects.filter(repository__iexact=repository, run_id__in=ended, run_finished_at=None)
    if keys := list(unaware.filter(status__in=OPEN).values_list("pk", flat=True)):
        moves.wake_all(keys)
