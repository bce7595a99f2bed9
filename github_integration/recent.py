"""One list of a repository's newest runs for all casts that look at theirs or search for it, in whatever process.

A list of a hundred runs costs GitHub's limit what one run costs. So it is asked for by whoever needs it first, kept in
a row, and read by everybody else while it is fresh; the ETag makes it free where nothing has changed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone

from casts.lifecycle import waking
from casts.models import OPEN, Cast
from casts.runtime import NotNow, Observation
from github_integration import turns, wire
from github_integration.api import Repository
from github_integration.models import RecentRuns

FRESH = dt.timedelta(seconds=3)  # so old a list may be
SEARCH_PAGES = 5  # of a hundred runs each
ASKING = dt.timedelta(seconds=8)  # for one page; so long nobody else asks, should whoever does have died
RETRY_SOON = dt.timedelta(seconds=0.5)


@dataclass(frozen=True)
class Listed:
    """The newest runs of one kind, newest first, and how far back they go (None: all there are)."""

    runs: tuple[Observation, ...]
    reaches_to: dt.datetime | None

    def reaches(self, since: dt.datetime | None) -> bool:
        """Whether every run made since then is in it."""
        return since is None or self.reaches_to is None or self.reaches_to < since


def runs(
    repository: Repository,
    event: str,
    *,
    account: int,
    since: dt.datetime | None = None,
    newer_than: dt.datetime | None = None,
) -> Listed:
    """Return the newest runs, asked for after `newer_than` and a few seconds ago at most.

    They go back to `since`, or five hundred runs. If they must be asked for, that is a look of this `account`. Raise
    NotNow while somebody else asks for them or requests must be spared, and what asking GitHub raises.
    """
    row, _ = RecentRuns.objects.get_or_create(
        installation=repository.installation, repository=repository.name.lower(), event=event
    )
    if (kept := _usable(row, since, newer_than)) is not None:
        return kept
    now = timezone.now()
    this = RecentRuns.objects.filter(pk=row.pk)
    free = this.filter(Q(asking_until=None) | Q(asking_until__lte=now), listed_at=row.listed_at)
    if not free.update(asking_until=now + ASKING):
        row.refresh_from_db()  # somebody was faster
        if (kept := _usable(row, since, newer_than)) is not None:
            return kept
        raise NotNow("Somebody else is asking for the same list.", retry_at=now + RETRY_SOON, reason="")
    try:
        found, reaches_to = _ask(repository, event, account, since, going_on=this)
        # Whoever took so long that somebody else has asked meanwhile has the older list.
        older = this.filter(Q(listed_at=None) | Q(listed_at__lt=now))
        older.update(runs=[row_of(seen) for seen in found], listed_at=now, reaches_to=reaches_to)
    finally:
        this.update(asking_until=None)
    _wake_ended(repository.name, found)
    return Listed(tuple(found), reaches_to)


def _usable(row: RecentRuns, since: dt.datetime | None, newer_than: dt.datetime | None) -> Listed | None:
    oldest = max(timezone.now() - FRESH, newer_than or timezone.now() - FRESH)
    if row.listed_at is None or row.listed_at < oldest:
        return None
    kept = Listed(tuple(wire.run_seen(row.repository, run) for run in row.runs), row.reaches_to)
    return kept if kept.reaches(since) or len(row.runs) >= SEARCH_PAGES * 100 else None


def _ask(
    repository: Repository, event: str, account: int, since: dt.datetime | None, *, going_on: QuerySet[RecentRuns]
) -> tuple[list[Observation], dt.datetime | None]:
    """Ask for as many pages as are needed; return the runs, and how far back they go."""
    found: list[Observation] = []
    for page in range(1, SEARCH_PAGES + 1):
        turns.spend(repository.installation, account)
        if page > 1:
            going_on.update(asking_until=timezone.now() + ASKING)
        listed = repository.runs(event=event, page=page)
        found += listed
        made = [seen.made_at for seen in listed if seen.made_at is not None]
        if len(listed) < 100 or not made:
            return found, None
        if since is None or min(made) < since:
            break
    return found, min(made)


def row_of(seen: Observation) -> wire.JSON:
    """Return a run by GitHub's names, as `wire.run_seen` reads it."""
    times = {"run_started_at": seen.run_started_at, "created_at": seen.made_at, "updated_at": seen.updated_at}
    return {
        "id": int(seen.run_key),
        "run_attempt": seen.attempt,
        "status": seen.status,
        "conclusion": seen.conclusion,
        "display_title": seen.title,
        "event": seen.trigger or None,
        "path": seen.workflow,
        "actor": {"login": seen.actor},
        "html_url": seen.url,
        "check_suite_id": int(seen.remarks) if seen.remarks else None,
        **{name: at and at.isoformat() for name, at in times.items()},
    }


def _wake_ended(repository: str, found: list[Observation]) -> None:
    """Have the casts looked at whose runs have ended, as the list says, and who don't know it yet."""
    ended = [seen.run_key for seen in found if seen.status == "completed"]
    unaware = Cast.objects.filter(run_scope__iexact=repository, run_key__in=ended, run_finished_at=None)
    if keys := list(unaware.filter(status__in=OPEN).values_list("pk", flat=True)):
        waking.wake_all(keys)
