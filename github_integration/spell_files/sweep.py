"""Finding what was pushed although no webhook told: each installation's repositories are listed regularly.

The list also tells of names, default branches and repositories that came or went. It costs a request for each hundred.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from casts.runtime import AccessLost, NotNow
from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from github_integration import quota
from github_integration.api import github
from github_integration.details import ListedRepository
from github_integration.models import PERSONAL, Installation, RepositoryList, SpellRepository
from github_integration.outcomes import asking
from github_integration.spell_files.reporting import best_way
from github_integration.spell_files.work import WAITS, possible

logger = logging.getLogger(__name__)

# GitHub tells the second of a push. After a look so soon behind it there may have been another push in the same second;
# and clocks differ.
TOO_SOON = dt.timedelta(minutes=2)
# Of many repositories that are found at once: each costs a few requests, and an installation has 5,000 an hour.
AT_ONCE, APART = 20, dt.timedelta(seconds=5)
NO_CONTENTS = (
    "The App may not read this installation's files, so spells can't be defined in them: it needs Contents: read."
)


class RepositoryListWork:
    """Lists of repositories, an installation at a time."""

    def rows(self) -> DueQuerySet:
        return RepositoryList.due_rows()

    def step(self, row: RepositoryList) -> dt.datetime | None:
        number = row.installation_id
        if not wanted() or Installation.objects.filter(pk=number).exclude(removed_at=None).exists():
            return None
        try:
            with asking(number, about={"installation": str(number)}):
                error, count = refresh(number)
        except NotNow as exc:
            row.mine().update(error=str(exc)[:500], failures=row.failures + 1)
            if isinstance(exc, AccessLost):
                return None
            wait = dt.timedelta(seconds=WAITS[min(row.failures, len(WAITS) - 1)])
            return exc.retry_at or timezone.now() + wait
        row.mine().update(error=error, failures=0, repositories=count, listed_at=timezone.now())
        return timezone.now() + dt.timedelta(seconds=settings.SPELL_FILES_SECONDS)

    def give_up(self, row: RepositoryList) -> dt.datetime | None:
        row.mine().update(error=how_often(row, "Listing its repositories")[:500])
        row.park()
        return None


def wanted() -> bool:
    return settings.SPELL_FILES_SECONDS > 0 and possible()


def refresh(installation: int) -> tuple[str, int]:
    """Note what GitHub lists; return why it was not asked, blank if it was, and how many repositories there are."""
    permissions = github().app.installation(installation).permissions
    Installation.objects.filter(pk=installation).update(reports_by=best_way(permissions))
    if permissions.get("contents") not in ("read", "write"):
        return NO_CONTENTS, 0
    listed: set[int] = set()
    new = 0
    for some in github().repositories(installation):
        new += note(installation, some, before=new)
        listed |= {one.number for one in some}
    # One that came while the list was read may be missing in it; the webhook that told of it has it listed anew.
    known = SpellRepository.objects.filter(installation=installation, gone_at=None).values_list("number", flat=True)
    lost(installation, set(known) - listed)
    return "", len(listed)


def note(installation: int, listed: Iterable[ListedRepository], *, moves: bool = True, before: int = 0) -> int:
    """Note repositories as GitHub shows them, and have those looked at that are new or have changed.

    Return how many are new; `before`: how many were just before. `moves`: whether one that was another installation's
    is this one's now. That a list says; a webhook may be old.
    """
    found = {one.number: one for one in listed}
    quota.known(installation)
    with transaction.atomic():
        known = SpellRepository.objects.filter(number__in=found)
        rows = {row.number: row for row in known.order_by("pk").select_for_update(no_key=True)}
        now = timezone.now()
        new = [
            as_row(installation, found[number], now + max(0, place - AT_ONCE) * APART)
            for place, number in enumerate(sorted(found.keys() - rows.keys()), start=before + 1)
        ]
        SpellRepository.objects.bulk_create(new, ignore_conflicts=True)
        changed = [row.pk for number, row in rows.items() if update(row, installation, found[number], moves=moves)]
        if changed:
            SpellRepository.due_rows().wake(pk__in=changed)
        if new or changed:
            transaction.on_commit(wakeups.work_is_due)
    return len(new)


def as_row(installation: int, seen: ListedRepository, due: dt.datetime) -> SpellRepository:
    about = {"name": seen.full_name, "default_branch": seen.default_branch, "pushed_at": seen.pushed_at}
    return SpellRepository(number=seen.number, installation_id=installation, due_at=due, **about)


def update(row: SpellRepository, installation: int, seen: ListedRepository, *, moves: bool) -> bool:
    """Write what has changed of a repository; return whether to look at it, which it is also if it may have changed."""
    changes: dict[str, object] = {}
    if row.installation_id != installation:
        if not (moves or row.gone_at):
            return False
        changes["installation_id"] = installation
    if row.gone_at:
        changes["gone_at"] = None
    told = {"name": seen.full_name, "default_branch": seen.default_branch, "pushed_at": seen.pushed_at}
    changes |= {name: value for name, value in told.items() if value and value != getattr(row, name)}
    if changes:
        return bool(SpellRepository.objects.filter(pk=row.pk).update(**changes))
    return bool(row.looked_at and row.pushed_at and row.looked_at < row.pushed_at + TOO_SOON)


def lost(installation: int, numbers: Iterable[int] | None) -> int:
    """Note that repositories (None: all) are no longer in an installation; their spells will be deactivated."""
    rows = SpellRepository.due_rows().filter(installation=installation, gone_at=None)
    if numbers is not None:
        rows = rows.filter(number__in=list(numbers))
    with transaction.atomic():
        keys = list(rows.values_list("pk", flat=True))
        if keys:
            gone = SpellRepository.due_rows().locked(keys)
            gone.update(gone_at=timezone.now())
            gone.wake()
            transaction.on_commit(wakeups.work_is_due)
    return len(keys)


def ensure() -> None:
    """Create a row for each installation, and wake those that rest although there is work. Any worker may call this."""
    if not wanted():
        return
    if settings.GITHUB_APP_INSTALLATION_ID:
        quota.known(settings.GITHUB_APP_INSTALLATION_ID)
    there = Installation.objects.filter(removed_at=None).exclude(pk=PERSONAL)
    now = timezone.now()
    missing = [RepositoryList(installation=one, due_at=now) for one in there.filter(repository_list=None)]
    RepositoryList.objects.bulk_create(missing, ignore_conflicts=True)
    RepositoryList.due_rows().filter(installation__in=there, due_at=None, lease_until=None, failed_steps=0).wake()
