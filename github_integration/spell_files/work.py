"""Keeping a repository's spells in step with its files: one look at the head of its default branch, whenever it is due.

Pushes, and the lists of repositories, only say that it is due. What counts is the head as it is then, so it does not
matter in which order they come, or how many of them are lost.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from django.db import transaction
from django.utils import timezone

from casts.runtime import AccessLost, NotNow
from core.limits import SPELL_FILE_PROBLEMS
from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from github_integration import errors
from github_integration.api import Repository, github
from github_integration.models import PERSONAL, Installation, SpellRepository
from github_integration.outcomes import asking
from github_integration.spell_files import applying, reporting, texts
from github_integration.spell_files.checking import Checker
from github_integration.spell_files.reading import Snapshot, tables_of

logger = logging.getLogger(__name__)

# Seconds until the head is looked at again, if it is not yet what a push has named: GitHub's servers differ a little.
LOOKS_FOR_NAMED = (2, 5, 10, 20, 40)
WAITS = (15, 60, 300, 1800)  # seconds, after GitHub's trouble
State, Reported = SpellRepository.State, SpellRepository.Reported
Outcome = dict[str, Any]


def possible() -> bool:
    """Whether there is an App; a personal token has no installation, and nobody is told of pushes."""
    return bool(github().app_id)


class SpellRepositoryWork:
    """Repositories that something was pushed to."""

    thread_share = 0.5  # a step may ask for hundreds of files

    def rows(self) -> DueQuerySet:
        return SpellRepository.due_rows()

    def step(self, row: SpellRepository) -> dt.datetime | None:
        if not possible() or row.installation_id == PERSONAL:
            return None
        choices = Installation.objects.select_related("account").get(pk=row.installation_id)
        try:
            if not row.gone_at:
                return look(row, choices)
            gone(row)
        except applying.LostClaim:
            pass
        return None

    def give_up(self, row: SpellRepository) -> dt.datetime | None:
        row.mine().update(trouble=how_often(row, "Reading its spell files")[:500])
        row.park()
        return None


def look(row: SpellRepository, choices: Installation) -> dt.datetime | None:
    """Look at the head, apply or refuse its files, and tell the commit; return when to look again."""
    repository = github().repository(row.installation_id, row.name)
    try:
        with asking(row.installation_id, about={"repository": row.name}):
            again = judge(row, choices, repository)
    except AccessLost:
        gone(row)
        return None
    except NotNow as exc:
        return troubled(row, str(exc), exc.retry_at)
    if not reporting.is_owed(row):
        return again
    try:
        with asking(row.installation_id, about={"repository": row.name}):
            reporting.tell(row, repository)
    except NotNow as exc:
        logger.info("commit not told", extra={"repository": row.name, "why": str(exc)})
        later = exc.retry_at or timezone.now() + dt.timedelta(seconds=WAITS[0])
        return min(again, later) if again else later
    return again


def judge(row: SpellRepository, choices: Installation, repository: Repository) -> dt.datetime | None:
    """Do what the head asks for, if that is something new; return when to look again. Raise GitHubError."""
    try:
        head = head_of(row, repository)
    except (errors.PermissionMissing, errors.NotFound, errors.Refused) as exc:
        note_trouble(row, f"GitHub shows nothing of it: {exc}. Is the App installed on it, with Contents: read?")
        return timezone.now() + dt.timedelta(seconds=WAITS[-1])
    again = behind(row, head)
    defines = row.targets.filter(left_at=None).exists()
    if not head and defines:
        note_trouble(row, "GitHub shows no commit on its default branch. Its spells stay as they are.")
        return timezone.now() + dt.timedelta(seconds=WAITS[-1])
    if row.trouble or row.failures:
        write(row, trouble="", failures=0)
    basis = basis_of(row, choices, head)
    if basis == row.basis:
        write(row, looked_at=timezone.now())
        return again
    outcome = {"commit": head, "basis": basis, "looked_at": timezone.now()}
    snapshot = Snapshot(repository, head)
    files = snapshot.spell_files(sure=defines) if head else []
    if not files and not defines:
        write(row, state=State.NOTHING, problems=[], report=None, reported=Reported.NOTHING, **outcome)
    elif choices.account_id is None:
        write(row, state=State.WAITING, problems=[], **owed(texts.waiting(head, files)), **outcome)
    else:
        apply(row, choices, snapshot, files, outcome)
    return again


def apply(row: SpellRepository, choices: Installation, snapshot: Snapshot, files: list[str], outcome: Outcome) -> None:
    """Apply what the files say, or refuse all of it."""
    commit = snapshot.commit
    tables, problems = tables_of(snapshot, files)
    ready, more = Checker(snapshot, choices).check(tables)
    problems += more
    try:
        if problems:
            raise applying.Refused(problems)
        done: Outcome = {
            "state": State.APPLIED if files else State.NOTHING,
            "problems": [],
            "applied_commit": commit,
            "applied_at": timezone.now(),
            "report": lambda changes: texts.applied(commit, len(ready), changes),
            "reported": Reported.OWED,
            "check_run": None,
        }
        changes = applying.apply(row, choices, ready, outcome | done)
    except applying.Refused as exc:
        told = sorted(exc.problems)
        logger.info("spell files refused", extra={"repository": row.name, "commit": commit, "mistakes": len(told)})
        stored = [one.stored() for one in told[:SPELL_FILE_PROBLEMS]]
        write(row, state=State.REFUSED, problems=stored, **owed(texts.refused(commit, told)), **outcome)
    else:
        logger.info("spell files applied", extra={"repository": row.name, "commit": commit, **changes.counts()})
    row.refresh_from_db(fields=["report", "reported"])


def owed(report: texts.Report) -> Outcome:
    return {"report": report, "reported": Reported.OWED, "check_run": None}


def write(row: SpellRepository, **changes: Any) -> None:
    """Write to the row. Raise LostClaim."""
    if not changes:
        return
    if not row.mine().update(**changes):
        raise applying.LostClaim
    for name, value in changes.items():
        setattr(row, name, value)


def basis_of(row: SpellRepository, choices: Installation, head: str) -> str:
    """Return all that what is made of the files depends on; as long as it stays, there is nothing to do."""
    told = (head, row.default_branch, row.name, choices.pk, choices.account_id)
    chosen = (choices.prices_from_repository, choices.limits_from_repository, choices.new_spell_price_cents)
    return " ".join(map(str, (*told, *chosen)))[:500]


def head_of(row: SpellRepository, repository: Repository) -> str:
    """Return the newest commit of the default branch, blank if there is none; learn what the branch is called now.

    Raise PermissionMissing, NotFound or Refused for a repository that is not shown to us.
    """
    if row.default_branch:
        try:
            return repository.head(row.default_branch)
        except errors.Conflict:  # no commit at all
            return ""
        except (errors.NotFound, errors.Refused):  # no such branch, or no such repository
            pass
    found = repository.details()
    write(row, default_branch=found.default_branch, name=found.full_name or row.name)
    try:
        return repository.head(row.default_branch) if row.default_branch else ""
    except (errors.Conflict, errors.NotFound):
        return ""
    except errors.Refused as exc:
        if errors.lacks_permission(exc):
            raise
        return ""


def behind(row: SpellRepository, head: str) -> dt.datetime | None:
    """Return when to look again because GitHub does not show yet what a push has named; None if it does."""
    if not row.named_commit:
        return None
    # Not if another push has named one meanwhile.
    mine = row.mine().filter(named_commit=row.named_commit)
    if row.named_commit == head or row.looks_for_named >= len(LOOKS_FOR_NAMED):
        mine.update(named_commit="", looks_for_named=0)
        return None
    mine.update(looks_for_named=row.looks_for_named + 1)
    return timezone.now() + dt.timedelta(seconds=LOOKS_FOR_NAMED[row.looks_for_named])


def note_trouble(row: SpellRepository, why: str) -> None:
    write(row, trouble=why[:500], failures=row.failures + 1)


def troubled(row: SpellRepository, why: str, retry_at: dt.datetime | None) -> dt.datetime:
    """Note GitHub's trouble; return when to look again."""
    wait = dt.timedelta(seconds=WAITS[min(row.failures, len(WAITS) - 1)])
    note_trouble(row, why)
    return retry_at or timezone.now() + wait


def gone(row: SpellRepository) -> None:
    """Deactivate the spells of a repository that the App no longer reaches; no commit can be told."""
    told: Outcome = {"problems": [], "report": None, "reported": Reported.NOTHING, "trouble": "", "failures": 0}
    changes = applying.retire(row, state=State.GONE, gone_at=row.gone_at or timezone.now(), basis="", **told)
    if changes:
        logger.warning("spells deactivated", extra={"repository": row.name, **changes.counts()})


def wake(rows: DueQuerySet) -> int:
    """Have these looked at now, and those again that failed too often."""
    with transaction.atomic():
        rows.forgive()
        woken = rows.wake()
        transaction.on_commit(wakeups.work_is_due)
    return woken


def look_anew(rows: DueQuerySet) -> int:
    """Have these looked at as if never before: what an operator asks for, or has changed."""
    rows.update(basis="")
    return wake(rows)
