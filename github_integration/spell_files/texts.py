"""What a commit is told of its spell files. All who may read the repository read it: nothing of others' is in it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from core.limits import SPELL_FILE_PROBLEMS
from github_integration.spell_files.applying import Changes
from github_integration.spell_files.reading import Problem
from github_integration.workflow_files.schema import cut

NAME = "Spell Platform"
SHORT_CHARS = 140  # of a status, GitHub's limit
SUMMARY_CHARS = 60_000  # GitHub refuses a check run with more than 65,535
SPELLS_TOLD = 100

Report = dict[str, Any]


def report(
    commit: str, conclusion: str, title: str, summary: Sequence[str], problems: Sequence[Problem] = ()
) -> Report:
    """Return what is told of a commit, as it is stored until then. By its key our check run is known again."""
    return {
        "key": secrets.token_hex(16),
        "commit": commit,
        "conclusion": conclusion,
        "title": title,
        "summary": cut("\n".join(summary), SUMMARY_CHARS),
        "short": title if len(title) <= SHORT_CHARS else title[: SHORT_CHARS - 1] + "…",
        "annotations": [annotation(one) for one in problems[:SPELL_FILE_PROBLEMS]],
    }


def annotation(problem: Problem) -> dict[str, Any]:
    return {
        "path": problem.file,
        "start_line": problem.line,
        "end_line": problem.line,
        "annotation_level": "failure",
        "message": problem.message,
    }


def applied(commit: str, spells: int, changes: Changes) -> Report:
    summary = []
    if changes.came:
        summary.append(f"- **New**: {named(changes.came)}")
    if changes.back:
        summary.append(f"- **Active again**: {named(changes.back)}")
    for key, fields in list(changes.changed.items())[:SPELLS_TOLD]:
        summary.append(f"- **Changed**: `{key}` ({', '.join(fields)})")
    if (more := len(changes.changed) - SPELLS_TOLD) > 0:
        summary.append(f"- and {more} more have changed")
    if changes.went:
        summary.append(f"- **No longer active**: {named(changes.went)}. Their casts that are under way go on.")
    told = (
        (len(changes.came), "new"),
        (len(changes.changed), "changed"),
        (len(changes.back), "active again"),
        (len(changes.went), "no longer active"),
    )
    counted = ", ".join(f"{count} {what}" for count, what in told if count) or "nothing has changed"
    title = f"{plural(spells, 'spell')} applied: {counted}"
    return report(commit, "success", title, summary or ["The spells are as they were."])


def refused(commit: str, problems: Sequence[Problem]) -> Report:
    first = problems[0]
    title = f"Not applied: {plural(len(problems), 'mistake')}. {first.file}, line {first.line}: {first.message}"
    summary = ["Nothing was changed: the spells are as they were before this commit.", ""]
    summary += [f"- `{one.file}`, line {one.line}: {one.message}" for one in problems[:SPELLS_TOLD]]
    if (more := len(problems) - SPELLS_TOLD) > 0:
        summary.append(f"- and {more} more")
    return report(commit, "failure", title[:250], summary, problems)


def waiting(commit: str, files: Sequence[str]) -> Report:
    title = "Not applied yet: the operator of the Spell Platform must first choose whose spells these are"
    summary = [
        f"{plural(len(files), 'file')} here define spells: {', '.join(f'`{file}`' for file in files[:20])}.",
        "",
        "They are applied as soon as the operator has chosen the account that owns the spells of this installation "
        "(admin: GitHub → Installations).",
    ]
    return report(commit, "neutral", title, summary)


def named(keys: Sequence[str]) -> str:
    told = ", ".join(f"`{key}`" for key in keys[:SPELLS_TOLD])
    return f"{told} and {len(keys) - SPELLS_TOLD} more" if len(keys) > SPELLS_TOLD else told


def plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
