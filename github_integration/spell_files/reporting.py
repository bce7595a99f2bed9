"""Telling a commit what became of its spell files: a check run, else a status, else nobody but the admin.

The report is stored in the transaction that applied or refused the files, and told afterwards: that it can't be told
holds nothing up and undoes nothing. It is told once: before a check run is made it is noted that this has begun, and
whoever finds that note looks first whether GitHub has one with the report's key.
"""

from __future__ import annotations

import logging
from typing import Any

from github_integration import errors
from github_integration.api import Repository
from github_integration.models import Installation, SpellRepository
from github_integration.spell_files.texts import NAME, Report

logger = logging.getLogger(__name__)

AT_ONCE = 50  # annotations in one request, GitHub's limit
STATES = {"success": "success", "failure": "failure", "neutral": "pending"}  # of a status, for a conclusion
Reported = SpellRepository.Reported
REFUSALS = (errors.PermissionMissing, errors.NotFound, errors.Gone, errors.Conflict, errors.Refused)


def is_owed(row: SpellRepository) -> bool:
    return row.reported in (Reported.OWED, Reported.BEGUN)


def tell(row: SpellRepository, repository: Repository) -> None:
    """Tell the commit. Raise GitHubError, after which it is to be told later."""
    report: Report = row.report or {}
    known = Installation.objects.values_list("reports_by", flat=True).get(pk=row.installation_id)
    ways = [Reported.CHECK_RUN, Reported.STATUS, Reported.NOWHERE]
    for way in ways[ways.index(Reported(known)) if known else 0 :]:
        try:
            number = None
            if way == Reported.CHECK_RUN:
                number = _check_run(row, repository, report)
            elif way == Reported.STATUS:
                state = STATES[report["conclusion"]]
                repository.set_status(report["commit"], state=state, context=NAME, description=report["short"])
        except REFUSALS as exc:
            closed = errors.lacks_permission(exc)
            logger.info("commit not told so", extra={"repository": row.name, "way": way.value, "why": str(exc)})
            if closed:  # for all repositories of the installation, until the next list of them
                following = ways[ways.index(way) + 1]
                Installation.objects.filter(pk=row.installation_id).update(reports_by=following)
        else:
            _note(row, way, check_run=number)
            return


def _check_run(row: SpellRepository, repository: Repository, report: Report) -> int:
    """Make the check run, or find the one that was made; return its number."""
    annotations = report["annotations"]
    output = {"title": report["title"], "summary": report["summary"]}
    there = None
    if row.reported == Reported.BEGUN:
        made = repository.check_runs(report["commit"], NAME)
        there = next((one for one in made if one.key == report["key"]), None)
    if there is None:
        _note(row, Reported.BEGUN)
        number = repository.add_check_run(
            report["commit"],
            name=NAME,
            key=report["key"],
            conclusion=report["conclusion"],
            output=output | {"annotations": annotations[:AT_ONCE]},
        )
        told = AT_ONCE
    else:
        number, told = there.id, there.annotations
    for start in range(told, len(annotations), AT_ONCE):
        repository.annotate(number, output | {"annotations": annotations[start : start + AT_ONCE]})
    return number


def _note(row: SpellRepository, reported: str, **more: Any) -> None:
    row.mine().update(reported=reported, **more)
    row.reported = reported


def best_way(permissions: dict[str, str]) -> str:
    """Return how an installation's commits can be told, as far as its permissions go."""
    if permissions.get("checks") == "write":
        return Reported.CHECK_RUN
    return Reported.STATUS if permissions.get("statuses") == "write" else Reported.NOWHERE
